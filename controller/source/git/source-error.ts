/** Why manifests do not come from Git, in the words of the condition `SourceReady`. */
export type SourceTrouble =
  | 'FetchFailed'
  | 'AuthenticationFailed'
  | 'RefNotFound'
  | 'CommitNotVerified'
  | 'HistoryRewritten'
  | 'CommitRefused';

/** A repository that cannot be asked, or a commit that is not taken; what was in force stays. */
export class SourceError extends Error {
  readonly code: SourceTrouble;
  /** It is about one commit, and stays true of it: it need not be looked at again. */
  readonly revision: string | undefined;

  constructor(
    code: SourceTrouble,
    message: string,
    { revision, cause }: { revision?: string; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.name = 'SourceError';
    this.code = code;
    this.revision = revision;
  }
}
