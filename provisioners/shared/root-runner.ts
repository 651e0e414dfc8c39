import type { ClientChannel } from 'ssh2';
import type { ExecResult } from '../contract.ts';
import { elevation, quoteWord } from './shell-command.ts';
import { untilAborted } from './until-aborted.ts';

/** What it says first; whatever a login prints before that is nobody's. */
const greeting = '\0spark-failures\0';

/**
 * Runs scripts as root, each in a session of its own with pipes of its own, for whoever writes to its standard input: so
 * sudo is asked once, and nothing that a script does to its shell or prints can be taken for another's. In Perl, which is on
 * every Debian and Ubuntu (perl-base is essential); no module that is not in that package.
 *
 * A request is SIZE ID (LENGTH BYTES)..., numbers of four bytes: standard input, script, arguments; an ID alone ends the
 * waiting. An answer is ID KIND LENGTH BYTES: `o`utput, `e`rror output, e`x`it status or name of a signal, `f`ailure to start.
 * A request is taken whole: one that was cut off does not run.
 */
const program = String.raw`
use strict;
use warnings;
use Config;
use IO::Handle;
use POSIX ();

$0 = 'spark-failures-root';
my @signals = split ' ', $Config{sig_name};
my ($received, %runs) = ('');
$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = sub { }; # interrupts select
binmode STDIN;
binmode STDOUT;

sub answer {
  my $left = pack 'N a N/a*', @_;
  while (length $left) {
    my $written = syswrite STDOUT, $left;
    if (defined $written) { substr $left, 0, $written, '' }
    elsif ($! != POSIX::EINTR) { exit }
  }
}

sub start {
  my ($id, $stdin, $script, @args) = @_;
  my (@ours, @theirs);
  my $piped = pipe($theirs[0], $ours[0]) && pipe($ours[1], $theirs[1]) && pipe($ours[2], $theirs[2]);
  my $pid = $piped ? fork : undef;
  return answer($id, 'f', "$!") unless defined $pid;
  if ($pid == 0) {
    POSIX::setsid();
    POSIX::dup2(fileno $theirs[$_], $_) for 0 .. 2;
    $SIG{PIPE} = 'DEFAULT';
    exec { 'sh' } 'sh', '-c', $script, 'sh', @args or syswrite STDERR, "sh: $!\n";
    POSIX::_exit(126);
  }
  $ours[0]->blocking(0);
  $runs{$id} = { pid => $pid, stdin => $stdin, feed => $ours[0], outputs => { o => $ours[1], e => $ours[2] } };
}

sub feed {
  my ($run) = @_;
  my $written = syswrite $run->{feed}, $run->{stdin};
  return if !defined $written && ($! == POSIX::EAGAIN || $! == POSIX::EINTR);
  # Undefined: nobody reads it any more.
  substr $run->{stdin}, 0, $written // length $run->{stdin}, '';
  delete $run->{feed} if $run->{stdin} eq '';
}

syswrite STDOUT, "\0spark-failures\0";
for (;;) {
  my ($readable, $writable) = ('', '');
  vec($readable, fileno STDIN, 1) = 1;
  for my $run (values %runs) {
    vec($readable, fileno $_, 1) = 1 for values %{ $run->{outputs} };
    vec($writable, fileno $run->{feed}, 1) = 1 if $run->{feed};
  }
  # Who has closed both outputs ends soon, and perhaps right before select.
  my $is_ending = grep { !%{ $_->{outputs} } } values %runs;
  ($readable, $writable) = ('', '') if select($readable, $writable, undef, $is_ending ? 0.02 : undef) < 0;
  for my $id (keys %runs) {
    my $run = $runs{$id};
    my $outputs = $run->{outputs};
    feed($run) if $run->{feed} && vec $writable, fileno $run->{feed}, 1;
    for my $kind (keys %$outputs) {
      next unless vec $readable, fileno $outputs->{$kind}, 1;
      my $count = sysread $outputs->{$kind}, my $bytes, 65536;
      if ($count) { answer($id, $kind, $bytes) }
      elsif (defined $count || $! != POSIX::EINTR) { delete $outputs->{$kind} }
    }
    next if %$outputs || waitpid($run->{pid}, POSIX::WNOHANG) == 0;
    answer($id, 'x', $? & 127 ? "SIG$signals[$? & 127]" : $? >> 8);
    delete $runs{$id};
  }
  next unless vec $readable, fileno STDIN, 1;
  my $count = sysread STDIN, $received, 65536, length $received;
  exit unless $count || !defined $count && $! == POSIX::EINTR;
  while (length $received >= 4) {
    my $end = 4 + unpack 'N', $received;
    last if length $received < $end;
    my ($id, $words) = unpack 'x4 N a*', substr $received, 0, $end, '';
    if (length $words) { start($id, unpack '(N/a)*', $words) }
    elsif ($runs{$id}) { $runs{$id}{outputs} = {} }
  }
}
`;

/** The command that a runner is the other end of. */
export const rootRunnerCommand = (user: string): string => `${elevation(user)}perl -e ${quoteWord(program)}`;

/** One script that runs. */
interface Run {
  readonly o: Buffer[];
  readonly e: Buffer[];
  readonly resolve: (result: ExecResult) => void;
  readonly reject: (error: Error) => void;
}

/** What a runner complains of is short. */
const mostComplaint = 1_000;

/** Runs any number of scripts at the same time over one channel, whose command is `rootRunnerCommand`. */
export class RootRunner {
  /** False: it ended before it had begun, for there is no Perl, or sudo refuses. Rejects when the connection was lost. */
  readonly begun: Promise<boolean>;
  /** Never rejects. */
  readonly ended: Promise<void>;
  readonly #channel: ClientChannel;
  readonly #runs = new Map<number, Run>();
  #last = 0;
  #unread: Buffer = Buffer.alloc(0);
  #complaint = '';

  /** `whyLost` tells what became of the connection, when it is that which was lost. */
  constructor(channel: ClientChannel, whyLost: () => Error | undefined) {
    this.#channel = channel;
    channel.on('error', () => {}); // it closes, too
    channel.stderr.on('data', (chunk: Buffer) => {
      this.#complaint = `${this.#complaint}${chunk.toString('utf8')}`.slice(-mostComplaint);
    });
    const closed = new Promise<number | null | undefined>((resolve) => channel.once('close', resolve));
    this.begun = new Promise((resolve, reject) => {
      const look = (chunk: Buffer) => {
        this.#unread = Buffer.concat([this.#unread, chunk]);
        const at = this.#unread.indexOf(greeting);
        if (at < 0) return;
        channel.off('data', look);
        channel.on('data', (more: Buffer) => this.#take(more));
        resolve(true);
        const rest = this.#unread.subarray(at + greeting.length);
        this.#unread = Buffer.alloc(0);
        this.#take(rest);
      };
      channel.on('data', look);
      void closed.then((code) => (code === undefined ? reject(this.#end(whyLost())) : resolve(false)));
    });
    this.ended = closed.then(() => {
      const error = this.#end(whyLost());
      for (const { reject } of this.#runs.values()) reject(error);
      this.#runs.clear();
    });
  }

  /** As `NodeHandle.exec`, but that it rejects with any error. */
  async run(
    words: readonly [script: string, ...args: string[]],
    stdin: string | Uint8Array,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    signal.throwIfAborted();
    const id = ++this.#last;
    const result = new Promise<ExecResult>((resolve, reject) =>
      this.#runs.set(id, { o: [], e: [], resolve, reject }),
    );
    this.#channel.write(request(id, [stdin, ...words]));
    return untilAborted(result, signal).catch((error: unknown) => {
      if (this.#runs.delete(id)) this.#channel.write(request(id, []));
      throw error;
    });
  }

  close(): void {
    this.#channel.close();
  }

  #take(chunk: Buffer): void {
    let unread = this.#unread.length > 0 ? Buffer.concat([this.#unread, chunk]) : chunk;
    while (unread.length >= headBytes) {
      const end = headBytes + unread.readUInt32BE(5);
      if (unread.length < end) break;
      this.#answer(unread.readUInt32BE(0), unread.toString('latin1', 4, 5), unread.subarray(headBytes, end));
      unread = unread.subarray(end);
    }
    this.#unread = unread;
  }

  /** Of a script for which nobody waits any more it says what it likes. */
  #answer(id: number, kind: string, bytes: Buffer): void {
    const run = this.#runs.get(id);
    if (!run) return;
    if (kind === 'o' || kind === 'e') return void run[kind].push(bytes);
    this.#runs.delete(id);
    const said = bytes.toString('utf8');
    if (kind === 'f') return void run.reject(new Error(`the script could not be started: ${said}`));
    const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString('utf8');
    const end = said.startsWith('SIG') ? { code: null, signal: said } : { code: Number(said), signal: null };
    run.resolve({ ...end, stdout: text(run.o), stderr: text(run.e) });
  }

  #end(lost: Error | undefined): Error {
    return (
      lost ??
      new Error(`what runs scripts as root there has ended: ${this.#complaint.trim() || 'no reason told'}`)
    );
  }
}

/** ID KIND LENGTH. */
const headBytes = 9;

const request = (id: number, parts: readonly (string | Uint8Array)[]): Buffer => {
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const body = [
    number(id),
    ...parts.map((part) => Buffer.from(part)).flatMap((part) => [number(part.length), part]),
  ];
  const size = body.reduce((sum, { length }) => sum + length, 0);
  return Buffer.concat([number(size), ...body]);
};
