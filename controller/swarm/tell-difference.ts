import type { Difference } from './diff-trees.ts';

/** Names under which people keep what nobody else should read. */
const SECRET_NAME = /pass|secret|token|credential|api_?key|private_?key|auth/i;
/** A service names the secrets that it is given: that much is no secret. */
const SECRET_REFERENCES = /^TaskTemplate\.ContainerSpec\.Secrets\b.*SecretName$/;
/** `scheme://user:password@host`. */
const SECRET_ADDRESS = /:\/\/[^/\s@:]*:[^/\s@]+@/;

/**
 * The two sides of a difference as JSON, undefined where there is nothing; what looks like a secret is only told to differ.
 * The data of Swarm's own secrets never gets here: services name them, and they have no update.
 */
export function tellDifference({ path, want, have }: Difference): {
  readonly want: string | undefined;
  readonly have: string | undefined;
} {
  const said = path.replace(SECRET_REFERENCES, '');
  const tell = (value: unknown): string | undefined => {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) return undefined;
    return SECRET_NAME.test(said + text) || SECRET_ADDRESS.test(text) ? '(not shown)' : text;
  };
  return { want: tell(want), have: tell(have) };
}
