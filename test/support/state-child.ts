// Run as a child that tests kill: `state-child.js <what> <stateDir>`; says `ready` once it is at work.
import { systemClock } from '../../controller/clock.ts';
import { openRunJournal } from '../../controller/status/run-journal.ts';
import { lockState } from '../../controller/status/state-lock.ts';
import { openStatusStore } from '../../controller/status/status-store.ts';
import { exampleRun } from './example-run.ts';

const [what, stateDir] = process.argv.slice(2) as [string, string];

if (what === 'lock') {
  await lockState(stateDir, 'watch', systemClock, new AbortController().signal);
  say('ready');
  setInterval(() => {}, 60_000);
}
if (what === 'write') await writeForEver();

/** Says the number of each write once it was acknowledged, so that the parent knows what must be found. */
async function writeForEver(): Promise<void> {
  const store = openStatusStore({ stateDir, kind: 'Thing', parse: (value) => value });
  const journal = await openRunJournal(stateDir, 3); // often: killed in a compaction as well
  for (let n = 1; ; n++) {
    await store.write('a', { n, padding: 'x'.repeat(20_000) });
    await journal.write(exampleRun(`run-${n % 10}`, { atMs: n }));
    say(String(n));
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
