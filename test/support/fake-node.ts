import type { Duplex } from 'node:stream';
import {
  ExecError,
  type ExecOptions,
  type ExecResult,
  type NodeHandle,
} from '../../provisioners/contract.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { Scripts } from '../../state-machines/load-scripts.ts';

interface FakeRun {
  readonly lock: string;
  readonly deadlineMs: number;
  tombstone: boolean;
  healed: boolean;
  /** Lease and term of who armed it; empty when it said none. */
  readonly mandate?: string;
}

/** What a fake node does otherwise than a good one; a test may change it at any time. */
interface Mood {
  /** The connection is lost: every call rejects. */
  unreachable: boolean;
  /** How long each call takes. */
  latencyMs: number;
  /** Containers that run here no more. */
  gone: readonly string[];
  /** What faults may need and it does not offer. */
  lacks: readonly string[];
  /** inject.sh fails half-way: what it has done so far is in force. */
  injectFails: boolean;
  /** undo.sh fails so many times. */
  undoFails: number;
  /** What a sweep.sh says that cannot tell its marks. */
  sweepFails?: string;
  /** Nothing is heard from it while a fault is in effect on it, until the connection is given up after six seconds. */
  mute: boolean;
  /** Whose faults it sees as a witness; its own when absent. */
  watched: FakeNode | undefined;
  /** The effect shows so long after the inject; never when infinite. */
  effectAfterMs: number;
  /** The effect goes away by itself at that instant. */
  effectEndsMs: number;
  /** Its checks still tell, once a fault is over, that it has happened: as after a reboot. */
  remembers: boolean;
  /** The controller is a process of this machine. */
  hasController: boolean;
  /** Hook before a script acts, for instance to block it. */
  before?: (script: string) => Promise<void>;
  /** Hook after a script has acted, and before its answer comes. */
  after?: (script: string) => Promise<void>;
}

const bootMs = 1_000_000;

/**
 * A node as the dead-man scripts make it behave: run directories, locks, tombstones, a switch that fires. It knows the
 * scripts by their text, so that a changed name or protocol shows.
 */
export class FakeNode implements NodeHandle {
  readonly name: string;
  readonly address: string;
  readonly mood: Mood = {
    unreachable: false,
    mute: false,
    watched: undefined,
    latencyMs: 5,
    gone: [],
    lacks: [],
    injectFails: false,
    undoFails: 0,
    effectAfterMs: 0,
    effectEndsMs: Number.POSITIVE_INFINITY,
    remembers: false,
    hasController: false,
  };
  /** Script names in the order in which they began, for instance `arm.sh`. */
  readonly calls: string[] = [];
  readonly runs = new Map<string, FakeRun>();
  /** Since when each run's fault is in force. */
  readonly broken = new Map<string, number>();
  /** Marks in force that belong to no run, as `<mechanism> <name>`. */
  readonly marks = new Set<string>();
  /** What its engine's name server says, `STATE ADDRESS...`, to a question of a container. */
  resolves: (name: string, container: string) => string = () => 'none';
  /** What its containers say at a port, to whatever they are asked. */
  readonly answers = new Map<number, string | Buffer>();
  /** The newest lease and term that it has heard of. */
  fence: string | undefined;
  readonly #happened = new Set<string>();
  readonly #clock: Clock;
  readonly #names: ReadonlyMap<string, string>;

  constructor(name: string, clock: Clock, scripts: Scripts, address = '10.0.0.1') {
    this.name = name;
    this.address = address;
    this.#clock = clock;
    const files = [
      'arm.sh',
      'fence.sh',
      'inject.sh',
      'look.sh',
      'gone.sh',
      'heal.sh',
      'disarm.sh',
      'scan.sh',
      'heal-all.sh',
      'lacks.sh',
      'sweep.sh',
    ];
    const named = files.map((file): [string, string] => [scripts.deadMan(file), file]);
    this.#names = new Map([...named, [scripts.ask, 'ask.sh'], [scripts.resolve, 'resolve.sh']]);
  }

  async exec(
    script: string,
    args: readonly string[],
    { stdin = '' }: ExecOptions,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    const name = this.#names.get(script) ?? 'unknown script';
    this.calls.push(name);
    await this.mood.before?.(name);
    await this.#clock.sleep(this.mood.latencyMs, signal);
    if (this.mood.unreachable) throw new ExecError(this.name, 'connection lost');
    await this.#loseConnection(signal);
    this.fireSwitches();
    const stdout = this.#answer(name, args, String(stdin));
    await this.mood.after?.(name);
    await this.#loseConnection(signal);
    if (stdout === undefined) return { code: 1, signal: null, stdout: '', stderr: `${name} failed` };
    const silent = ['scan.sh', 'ask.sh', 'fence.sh', 'resolve.sh'].includes(name);
    const started = silent ? '' : `started ${this.#uptime()}\n`;
    const stderr = (name === 'scan.sh' && this.mood.sweepFails) || '';
    return { code: 0, signal: null, stdout: started + stdout, stderr };
  }

  /** What the node's own timer would have done by now. */
  fireSwitches(): void {
    for (const [name, run] of this.runs) {
      if (this.#clock.now() < run.deadlineMs || run.healed) continue;
      Object.assign(run, { tombstone: true, healed: true });
      this.broken.delete(name);
    }
  }

  dial(): Promise<Duplex> {
    return Promise.reject(new ExecError(this.name, 'a fake node cannot be dialled'));
  }

  async controllerAddress(): Promise<string> {
    return this.mood.hasController ? this.address : '10.0.0.254';
  }

  close(): void {}

  async #loseConnection(signal: AbortSignal): Promise<void> {
    if (!this.mood.mute || this.#verdict('') !== 'active') return;
    await this.#clock.sleep(6_000, signal);
    throw new ExecError(this.name, 'keepalive timeout');
  }

  #answer(script: string, [run = '', ...rest]: readonly string[], stdin: string): string | undefined {
    switch (script) {
      case 'arm.sh':
        return this.#arm(run, rest);
      case 'fence.sh':
        if (this.#isOutdated(run)) return `refused ${this.fence} leads here\n`;
        this.fence = run;
        return '';
      case 'inject.sh':
        return this.#inject(run);
      case 'look.sh':
        return `check ${run === '' ? this.#seen() : this.#told(run)}\nended ${this.#uptime()}\n`;
      case 'gone.sh':
        return [run, ...rest].filter((id) => this.mood.gone.includes(id)).join('\n');
      case 'heal.sh':
        return this.#heal(run);
      case 'disarm.sh':
        this.runs.delete(run);
        return '';
      case 'ask.sh': {
        const answer = this.answers.get(Number(rest[0]));
        return answer === undefined ? undefined : Buffer.from(answer).toString('base64');
      }
      case 'resolve.sh':
        return stdin.replace(
          /^(\S+) (\S+)$/gm,
          (asked, container: string, name: string) => `${asked} ${this.resolves(name, container)}`,
        );
      case 'scan.sh':
        return this.#scan();
      case 'sweep.sh':
        if ([...this.runs.values()].some(({ healed }) => !healed)) return 'busy\n';
        this.marks.clear();
        return '';
      case 'lacks.sh':
        return this.mood.lacks.filter((need) => [run, ...rest].includes(need)).join('\n');
      default:
        return undefined;
    }
  }

  #isOutdated(mandate = ''): boolean {
    const [lease, term] = mandate.split(' ');
    const [ofLease, newest] = this.fence?.split(' ') ?? [];
    return mandate !== '' && lease === ofLease && Number(newest) > Number(term);
  }

  #arm(name: string, [lock = '', fuseMs, , group, mandate = '', ...needs]: readonly string[]): string {
    const lacking = this.mood.lacks.find((need) => needs.includes(need));
    if (lacking !== undefined) return `refused the node lacks ${lacking}\n`;
    if (this.#isOutdated(mandate)) return 'refused another operator leads by now\n';
    const isOwn = (run: string) => group !== '' && run.startsWith(`${group}.`);
    const holder = [...this.runs].find(([one, run]) => run.lock === lock && !run.healed && !isOwn(one))?.[0];
    if (holder !== undefined) return `refused ${lock} is held by ${holder}\n`;
    if (mandate !== '') this.fence = mandate;
    this.runs.set(name, {
      ...{ lock, deadlineMs: this.#clock.now() + Number(fuseMs), tombstone: false, healed: false, mandate },
    });
    return `armed ${this.#uptime()}\ncheck ${this.#verdict(name)}\nended ${this.#uptime()}\n`;
  }

  #scan(): string {
    const runs = [...this.runs].map(([name, { healed, deadlineMs, lock, mandate }]) => {
      const state = healed ? 'healed' : this.broken.has(name) ? 'injected' : 'armed';
      const isPending = this.#clock.now() < deadlineMs && !this.#isOutdated(mandate);
      return `run ${name} ${state} ${isPending ? 'pending' : 'over'} ${lock}\n`;
    });
    const unlisted = this.mood.sweepFails === undefined ? [] : ['unlisted drop\n'];
    return [...runs, ...[...this.marks].map((mark) => `mark ${mark}\n`), ...unlisted].join('');
  }

  #inject(name: string): string {
    const run = this.runs.get(name);
    if (!run) return 'refused the run is not armed on this node\n';
    if (run.tombstone) return 'refused the run is healed already\n';
    if (this.#isOutdated(run.mandate)) return 'refused another operator leads by now\n';
    this.broken.set(name, this.#clock.now());
    this.#happened.add(name);
    if (this.mood.injectFails) return `failed 1\nended ${this.#uptime()}\n`;
    const due = this.#uptime(run.deadlineMs);
    return `due ${due}\nnotbefore ${this.#uptime()}\ncheck ${this.#verdict(name)}\nended ${this.#uptime()}\n`;
  }

  #heal(name: string): string | undefined {
    const run = this.runs.get(name);
    if (run) run.tombstone = true;
    if (this.mood.undoFails > 0) {
      this.mood.undoFails--;
      return undefined;
    }
    this.broken.delete(name);
    if (run) run.healed = true;
    return 'healed\n';
  }

  /** What its own check says. */
  #told(run: string): string {
    return this.mood.remembers && this.#happened.has(run) ? 'active' : this.#verdict(run);
  }

  /** What a witness says, which knows no run's name. */
  #seen(): string {
    return (this.mood.watched ?? this).#verdict('');
  }

  /** Without a run's name: of any run. */
  #verdict(name: string): string {
    const sinceMs = name === '' ? [...this.broken.values()][0] : this.broken.get(name);
    const nowMs = this.#clock.now();
    const shown = sinceMs !== undefined && nowMs >= sinceMs + this.mood.effectAfterMs;
    return shown && nowMs < this.mood.effectEndsMs ? 'active' : 'inactive';
  }

  #uptime(atMs = this.#clock.now()): string {
    return ((atMs - bootMs) / 1000).toFixed(2);
  }
}
