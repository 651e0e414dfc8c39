/** sshd hands the whole command to a shell as one argument, and Linux caps one argument at 128 KiB. */
const maxCommandBytes = 128 * 1024 - 1;

/** One word for a POSIX shell, whatever bytes it holds; a NUL cannot be passed to any program. */
export const quoteWord = (word: string): string => {
  if (word.includes('\0')) throw new TypeError('an argument must not hold a NUL character');
  return `'${word.replaceAll("'", `'\\''`)}'`;
};

/** What makes a command of this user one of root: nothing for root, else sudo, which must not ask for a password. */
export const elevation = (user: string): string => (user === 'root' ? '' : 'sudo -n ');

/** The command line that runs a constant script as root with positional arguments $1, $2, ... */
export const rootCommand = (user: string, script: string, args: readonly string[]): string => {
  const command = [`${elevation(user)}sh -c`, quoteWord(script), 'sh', ...args.map(quoteWord)].join(' ');
  if (Buffer.byteLength(command) > maxCommandBytes) {
    throw new RangeError('script and arguments exceed 128 KiB: pass the data by stdin');
  }
  return command;
};
