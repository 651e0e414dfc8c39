/** sshd hands the whole command to a shell as one argument, and Linux caps one argument at 128 KiB. */
const maxCommandBytes = 128 * 1024 - 1;

/** One word for a POSIX shell, whatever bytes it holds; a NUL cannot be passed to any program. */
export const quoteWord = (word: string): string => {
  if (word.includes('\0')) throw new TypeError('an argument must not hold a NUL character');
  return `'${word.replaceAll("'", `'\\''`)}'`;
};

/** The command line that runs a constant script as root with positional arguments $1, $2, ... */
export const sudoCommand = (script: string, args: readonly string[]): string => {
  const command = ['sudo -n sh -c', quoteWord(script), 'sh', ...args.map(quoteWord)].join(' ');
  if (Buffer.byteLength(command) > maxCommandBytes) {
    throw new RangeError('script and arguments exceed 128 KiB: pass the data by stdin');
  }
  return command;
};
