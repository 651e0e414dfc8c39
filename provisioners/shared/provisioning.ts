import { messageOf, ProvisionError } from '../contract.ts';

/** Does a provisioner's work; whatever goes wrong in it is a ProvisionError that begins with `what`, but for an abort. */
export const provisioning = async <T>(
  what: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (signal.aborted || error instanceof ProvisionError) throw error;
    throw new ProvisionError([`${what}: ${messageOf(error).trim()}`], { cause: error });
  }
};
