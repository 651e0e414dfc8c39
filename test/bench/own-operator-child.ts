import { resolve } from 'node:path';
import { systemClock } from '../../controller/clock.ts';
import { createLog } from '../../controller/log.ts';
import { runOperator } from '../../controller/run-operator.ts';
import { followManifests } from '../../controller/source/follow-manifests.ts';
import { formatProblem } from '../../crds/problem.ts';
import { ownMachine } from '../support/own-machine.ts';
import type { OwnSite } from './own-cluster.ts';

// The operator that watches a folder, bound to an engine of our own: SITE as JSON. Ends with its parent, or by SIGTERM.

const { socket, folder, ...site } = JSON.parse(process.argv[2]!) as OwnSite;
const end = new AbortController();
for (const event of ['disconnect', 'SIGTERM'] as const)
  process.on(event, () => end.abort(new Error(`ended by ${event}`)));
const log = createLog({ level: 'info', format: 'json', destination: process.stderr });
await runOperator(
  {
    ...{ ...site, host: '127.0.0.1', log, verb: 'bench', progress: () => undefined },
    bindProvisioner: () => ownMachine(socket),
  },
  ({ store, load }) => [
    {
      name: 'source',
      execute: (signal) =>
        followManifests(
          {
            ...{ root: resolve(folder), recursive: false, load, store, clock: systemClock },
            onProblems: (problems) => log.warn({ problems: problems.map(formatProblem) }, 'problems'),
            onWatchError: (err) => log.warn({ err }, 'file events are lost'),
          },
          signal,
        ),
    },
  ],
  end.signal,
);
process.disconnect?.();
