#!/usr/bin/env node
import { EventEmitter } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../crds/parse-duration.ts';
import { ManifestError } from '../crds/problem.ts';
import { messageOf } from '../provisioners/contract.ts';
import { apply, remove } from './cli/apply.ts';
import { type CliContext, type ExitCode, OUTPUT_FORMATS, type OutputFormat } from './cli/cli-context.ts';
import { demo, demoDown } from './cli/demo.ts';
import { describe } from './cli/describe.ts';
import { type BundleFiles, doctor } from './cli/doctor.ts';
import { events } from './cli/events.ts';
import { GET_KINDS, type GetKind, get } from './cli/get.ts';
import type { GitOptions } from './cli/git-source.ts';
import { heal } from './cli/heal.ts';
import { images } from './cli/images.ts';
import { logLevel } from './cli/log-level.ts';
import { plan } from './cli/plan.ts';
import type { FileOptions } from './cli/read-files.ts';
import { REPORT_FORMATS, report } from './cli/report.ts';
import { SCHEMA_TOPICS, type SchemaTopic, schema, writeGenerated } from './cli/schema.ts';
import { type ServeOptions, watch } from './cli/watch.ts';
import type { LeaseTimes } from './lease/lease-elector.ts';
import { createLog, LOG_LEVELS, type LogLevel } from './log.ts';
import { GIT_HOOK_PATH } from './source/git/git-hook.ts';

interface Flags {
  readonly state: string;
  readonly cache: string;
  readonly output?: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly logLevel: LogLevel;
  readonly watch?: string | true;
  readonly recursive: boolean;
  readonly leaderElect: boolean;
  readonly leaseDuration: number;
  readonly renewDeadline: number;
  readonly retryPeriod: number;
  readonly git?: string;
  readonly ref?: string;
  readonly path: string;
  readonly interval: number;
  readonly verify: readonly string[];
  readonly gitKey?: string;
  readonly gitKnownHosts?: string;
  readonly gitToken?: string;
  readonly gitHookSecret?: string;
  readonly gitResults?: string;
}

interface FileFlags {
  readonly filename: readonly string[];
  readonly recursive: boolean;
}

// One signal ends a pass, and with it every call that the pass has under way: hundreds are no leak.
EventEmitter.defaultMaxListeners = 1_000;

// The AWS SDK is pinned, and says by itself that later ones will want another Node: to us, not to who runs this.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';

const stop = new AbortController();
// For good: npm passes a Ctrl-C on a second time, which must not kill a process that is healing.
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => stop.abort(new Error(`ended by ${signal}`)));

/** The nearest folder above with a package.json: sources and dist/ lie at different depths. */
function findPackageRoot(from: string): string {
  if (existsSync(join(from, 'package.json'))) return from;
  return findPackageRoot(dirname(from));
}

const cacheHome = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');

function parseListen(text: string): Flags['listen'] {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535)
    throw new InvalidArgumentError('expected host:port, such as 0.0.0.0:9464');
  return { host, port: Number(port) };
}

function parseTime(text: string): number {
  try {
    return parseDuration(text);
  } catch {
    throw new InvalidArgumentError('expected a duration, such as 10s');
  }
}

const leaseTime = (flag: string, description: string, usual: string) =>
  new Option(`${flag} <time>`, description).default(parseDuration(usual), usual).argParser(parseTime);

/** client-go's rule: who holds it stops in time, and has tried more than once before. */
function electionOf({
  leaderElect,
  leaseDuration,
  renewDeadline,
  retryPeriod,
}: Flags): LeaseTimes | undefined {
  if (!leaderElect) return undefined;
  if (!(leaseDuration > renewDeadline && renewDeadline >= 2 * retryPeriod && retryPeriod >= 100))
    program.error(
      'error: --lease-duration must be longer than --renew-deadline, and that at least twice --retry-period (100ms or more)',
    );
  return { leaseMs: leaseDuration, renewMs: renewDeadline, retryMs: retryPeriod };
}

/** A name and a place, and nothing secret: what is in a URL is in lists of processes, too. */
function parseGitUrl(text: string): string {
  // As git writes an address over ssh.
  const [, user, host, path] = /^(?:([\w.-]+)@)([\w.-]+):(?!\/\/)(.+)$/.exec(text) ?? [];
  const url = host === undefined ? text : `ssh://${user}@${host}/${path}`;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isHere =
    parsed?.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(parsed.hostname);
  if (!parsed || !(['ssh:', 'https:', 'file:'].includes(parsed.protocol) || isHere))
    throw new InvalidArgumentError('expected an ssh, https or file URL');
  if (parsed.password !== '')
    throw new InvalidArgumentError('a password belongs into a file: see --git-token');
  return url;
}

function parseRef(text: string): string {
  if (!/^[A-Za-z0-9][\w./-]*$/.test(text) || text.includes('..'))
    throw new InvalidArgumentError('expected a branch, a tag or a full ref');
  return text;
}

function parseInnerPath(text: string): string {
  const parts = text.split('/');
  if (text.startsWith('/') || parts.includes('..') || parts.includes('.git'))
    throw new InvalidArgumentError('expected a folder in the repository');
  return text;
}

function parseInterval(text: string): number {
  const intervalMs = parseTime(text);
  if (intervalMs < 1_000) throw new InvalidArgumentError('expected a duration of at least 1s, such as 1m');
  return intervalMs;
}

const noFiles: FileFlags = { filename: [], recursive: false };
const collect = (value: string, all: readonly string[] = []) => [...all, value];

const packageRoot = findPackageRoot(import.meta.dirname);
const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
  version: string;
};

const program = new Command('controller')
  .version(version)
  .description('Keeps a Docker Swarm as manifests say, breaks it on purpose, and measures how it recovers.')
  .option('--watch [dir]', 'run the operator over the manifests in a folder (default: manifests)')
  .option('-R, --recursive', 'look into subfolders, too', false)
  .addOption(
    new Option('--git <url>', 'with --watch: the manifests of a Git repository').argParser(parseGitUrl),
  )
  .addOption(new Option('--ref <ref>', 'branch or tag of it; HEAD when not given').argParser(parseRef))
  .addOption(new Option('--path <dir>', 'folder in it').default('.').argParser(parseInnerPath))
  .addOption(
    new Option('--interval <duration>', 'between looks at it').default(60_000, '1m').argParser(parseInterval),
  )
  .addOption(
    new Option('--verify <keys>', 'take only commits signed by these: PGP keys, or allowed signers of ssh')
      .default([])
      .argParser(collect),
  )
  .option('--git-key <file>', 'private key for ssh')
  .option('--git-known-hosts <file>', 'host keys for ssh')
  .option('--git-token <file>', 'token for https')
  .option('--git-hook-secret <file>', `secret of POST ${GIT_HOOK_PATH}, which hastens the next look`)
  .addOption(
    new Option('--git-results <branch>', 'where results are pushed to when a schedule ends').argParser(
      parseRef,
    ),
  )
  .option('--state <dir>', 'where status, journal and samples are kept', '.spark-failures')
  .option('--cache <dir>', 'where downloads and image seeds are kept', join(cacheHome, 'spark-failures'))
  .addOption(
    new Option('--listen <host:port>', 'where /metrics is served')
      .default({ host: '0.0.0.0', port: 9464 }, '0.0.0.0:9464')
      .argParser(parseListen),
  )
  .addOption(
    new Option(
      '-o, --output <format>',
      'how answers are printed: table, json or yaml; a report: html, md, csv or json',
    ).choices([...new Set([...OUTPUT_FORMATS, ...REPORT_FORMATS])]),
  )
  .option('--leader-elect', 'with --watch: of several operators with these manifests one acts', false)
  .addOption(leaseTime('--lease-duration', 'who waits takes a lease that nobody renews for so long', '10s'))
  .addOption(leaseTime('--renew-deadline', 'who leads and cannot renew its lease stops after so long', '6s'))
  .addOption(leaseTime('--retry-period', 'between tries to take or renew it', '2s'))
  .addOption(
    new Option('--log-level <level>', 'what is logged to standard error').choices(LOG_LEVELS).default('info'),
  )
  .showHelpAfterError('(--help tells more)')
  .allowExcessArguments()
  .exitOverride();

/** What was asked for with -o, if the verb has it; its usual format, the first, when nothing was. */
function formatOf<F extends string>({ output }: Flags, formats: readonly [F, ...F[]]): F {
  const asked = output === undefined ? formats[0] : formats.find((format) => format === output);
  return asked ?? program.error(`error: -o ${output}: this verb answers as ${formats.join(', ')}`);
}

function contextOf({ state, cache }: Flags, output: OutputFormat): CliContext {
  return {
    version,
    packageRoot,
    stateDir: resolve(state),
    cacheDir: resolve(cache),
    output,
    print: (text) => void process.stdout.write(`${text}\n`),
    note: (text) => void process.stderr.write(`${text}\n`),
    signal: stop.signal,
  };
}

function serveOf({ listen, logLevel }: Flags, quiet?: LogLevel): ServeOptions {
  const format = process.stderr.isTTY ? 'pretty' : 'json';
  const level = program.getOptionValueSource('logLevel') === 'default' && quiet ? quiet : logLevel;
  return { ...listen, log: createLog({ level, format, destination: process.stderr }) };
}

/** What the options about Git say together; undefined when manifests are in a folder. */
function gitOf(flags: Flags): GitOptions | undefined {
  const { git: url, ref, watch: folder, gitKnownHosts, gitKey, gitToken, gitResults } = flags;
  if (url === undefined) return undefined;
  if (folder !== true) return program.error('error: --watch DIR and --git: manifests have one source');
  if (url.startsWith('ssh:') && gitKnownHosts === undefined)
    return program.error('error: --git over ssh needs --git-known-hosts: no host is believed unseen');
  if (gitToken !== undefined && !url.startsWith('https:') && !url.startsWith('http:'))
    return program.error('error: --git-token is for https');
  if (gitResults !== undefined && (gitResults === ref || ref === undefined))
    return program.error('error: --git-results needs --ref, and another branch than that');
  const files = {
    ...(gitKey !== undefined && { sshKeyFile: resolve(gitKey) }),
    ...(gitKnownHosts !== undefined && { knownHostsFile: resolve(gitKnownHosts) }),
    ...(gitToken !== undefined && { tokenFile: resolve(gitToken) }),
  };
  const passed = ['PATH', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY', 'SSL_CERT_FILE'];
  const environment = Object.fromEntries(
    passed.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
  return {
    ...{ access: { url, environment, ...files }, path: flags.path, intervalMs: flags.interval },
    verify: flags.verify.map((file) => resolve(file)),
    ...(ref !== undefined && { ref }),
    ...(flags.gitHookSecret !== undefined && { hookSecretFile: resolve(flags.gitHookSecret) }),
    ...(gitResults !== undefined && { resultsBranch: gitResults }),
  };
}

/** The context of all verbs whose answers are tables. */
const answering = (flags: Flags) => contextOf(flags, formatOf(flags, OUTPUT_FORMATS));

const filesOf = ({ filename, recursive }: FileFlags): FileOptions => ({ files: filename, recursive });

/** A verb's action: options of the program and of the verb, then an exit code. */
function run(
  verb: Command,
  act: (flags: Flags & FileFlags, ...args: string[]) => Promise<ExitCode> | ExitCode,
): void {
  verb.action(async (...all: unknown[]) => {
    const args = all.slice(0, -2).filter((arg) => arg !== undefined) as string[];
    process.exitCode = await act({ ...noFiles, ...verb.optsWithGlobals<Flags>() }, ...args);
  });
}

type FileVerb = (context: CliContext, serve: ServeOptions, files: FileOptions) => Promise<ExitCode>;

/** A verb about the manifests that `-f` names. */
function fileVerb(name: string, description: string, required = true): Command {
  const option = new Option('-f, --filename <path>', 'manifest file or folder; may be repeated')
    .argParser(collect)
    .makeOptionMandatory(required);
  return program
    .command(name)
    .description(description)
    .addOption(option)
    .option('-R, --recursive', 'look into subfolders, too', false);
}

function onFiles(name: string, description: string, act: FileVerb, required = true): Command {
  const verb = fileVerb(name, description, required);
  run(verb, (flags) => act(answering(flags), serveOf(flags, 'warn'), filesOf(flags)));
  return verb;
}

program.action(async () => {
  const [verb] = program.args;
  if (verb !== undefined) program.error(`error: unknown command '${verb}'`);
  const flags = program.opts<Flags>();
  const { watch: folder, recursive } = flags;
  if (folder === undefined) return program.help({ error: true });
  const git = gitOf(flags);
  const root = folder === true ? 'manifests' : folder;
  const election = electionOf(flags);
  process.exitCode = await watch(answering(flags), serveOf(flags), {
    recursive,
    ...(election && { election }),
    ...(git ? { git } : { root }),
  });
});

onFiles('plan', 'print what would change; change nothing', plan);
onFiles('apply', 'work until clusters are Ready and schedules Complete', apply).option(
  '--wait',
  'wait for that (always so)',
);
onFiles('delete', 'destroy what the manifests made', remove).option(
  '--wait',
  'wait until it is gone (always so)',
);
run(
  program
    .command('get')
    .description('list what status says')
    .addArgument(new Argument('<kind>').choices(GET_KINDS))
    .argument('[name]'),
  (flags, kind, name) => get(answering(flags), kind as GetKind, name),
);
run(
  program.command('describe').description('conditions, events and trials of one resource').argument('<name>'),
  (flags, name) => describe(answering(flags), name!),
);
run(
  program
    .command('events')
    .description('what happened, newest last; as JSON, a line each')
    .argument('[name]')
    .option('-f, --follow', 'go on with what happens'),
  (flags, name) =>
    events(answering(flags), { follow: 'follow' in flags, ...(name !== undefined && { name }) }),
);
run(
  program
    .command('log-level')
    .description('what the operator of this state directory logs from now on, until it ends')
    .addArgument(new Argument('<level>').choices(LOG_LEVELS)),
  (flags, level) => logLevel(answering(flags), level as LogLevel),
);
run(
  fileVerb('report', 'write what the trials of schedules say, from saved status and rows')
    .option('--out <file>', 'where to, instead of standard output')
    .option('--no-raw', 'attach no raw rows to a page'),
  (flags) => {
    const format = formatOf(flags, REPORT_FORMATS);
    const to = 'out' in flags ? { out: resolve(String(flags.out)) } : {};
    const raw = !('raw' in flags && flags.raw === false);
    return report(contextOf(flags, 'table'), { ...filesOf(flags), format, raw, ...to });
  },
);
onFiles('heal', 'undo every fault found on any node', heal, false);
onFiles('images', 'build what an operator on another machine needs, and print the names', images, false);
run(
  fileVerb('doctor', 'say what is missing, here and on the nodes', false)
    .option('--bundle <file>', 'and write what somebody who helps needs to know, without secrets, as .tar.gz')
    .option('--log <file>', 'with --bundle: where the log of the operator was kept'),
  (flags) => {
    const files: BundleFiles = {
      ...('bundle' in flags && { bundle: resolve(String(flags.bundle)) }),
      ...('log' in flags && { log: resolve(String(flags.log)) }),
    };
    return doctor(answering(flags), serveOf(flags, 'warn'), filesOf(flags), files);
  },
);
run(
  program
    .command('schema')
    .description('JSON schema of a kind, or the fault kinds')
    .addArgument(new Argument('[topic]').choices(SCHEMA_TOPICS).default('ClusterSpec'))
    .option('--write', 'bring the generated files of this package up to date'),
  (flags, topic) =>
    'write' in flags ? writeGenerated(answering(flags)) : schema(answering(flags), topic as SchemaTopic),
);
run(
  program
    .command('demo')
    .description('everything in manifests/, from nothing to a table of figures')
    .option('--down', 'take it all down')
    .option('--purge', 'with --down: image and download caches, too'),
  (flags) => {
    const context = answering(flags);
    const serve = serveOf(flags, 'error');
    return 'down' in flags ? demoDown(context, serve, 'purge' in flags) : demo(context, serve);
  },
);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = failed(error);
}

function failed(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  process.stderr.write(`${messageOf(error)}\n`);
  return error instanceof ManifestError ? 2 : 1;
}
