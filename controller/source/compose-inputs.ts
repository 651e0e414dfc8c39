import { dirname, resolve } from 'node:path';
import { readComposeDocument } from '../stack/compose-document.ts';
import { interpolate } from '../stack/interpolate.ts';

/** The files that a compose file takes configs and secrets from: editing one of them is an edit of the cluster. */
export function composeInputs(
  composePath: string,
  text: string,
  env: Readonly<Record<string, string>>,
): readonly string[] {
  const document = readComposeDocument(text);
  if (!('tree' in document)) return [];
  const { configs, secrets } = (document.tree ?? {}) as { configs?: unknown; secrets?: unknown };
  return [configs, secrets]
    .flatMap((section) => (typeof section === 'object' && section !== null ? Object.values(section) : []))
    .map((entry: unknown) => (entry as { readonly file?: unknown } | null)?.file)
    .flatMap((file) => (typeof file === 'string' ? resolved(composePath, file, env) : []));
}

/** None where a variable is unknown here: the stack's own loader says what is wrong with it. */
function resolved(composePath: string, file: string, env: Readonly<Record<string, string>>): string[] {
  try {
    return [resolve(dirname(composePath), interpolate(file, env))];
  } catch {
    return [];
  }
}
