import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { PostRoute } from '../../http-server.ts';

export const GIT_HOOK_PATH = '/hooks/git';

/** So many at once, and one more each second: a hint costs a look at the repository. */
const burst = 10;
const refillMs = 1_000;

/**
 * `POST /hooks/git`: a push hastens the next look, and nothing in it is believed. Signed as GitHub, Gitea
 * (`X-Hub-Signature-256`) and Flux's generic-hmac (`X-Signature`) do, or with GitLab's token. Without a secret: 404.
 */
export function gitHook(secret: string | undefined, hasten: () => void, nowMs: () => number): PostRoute {
  let tokens = burst;
  let filledMs = nowMs();
  return {
    mayCome() {
      tokens = Math.min(burst, tokens + Math.max(0, nowMs() - filledMs) / refillMs);
      filledMs = nowMs();
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
    take({ headers, body }) {
      if (secret === undefined) return { status: 404, text: 'not found' };
      const signature = headers['x-hub-signature-256'] ?? headers['x-signature'];
      const expected = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
      const isGood =
        signature !== undefined ? same(signature, expected) : same(headers['x-gitlab-token'], secret);
      if (!isGood) return { status: 401, text: 'wrong signature' };
      hasten();
      return { status: 202, text: 'the repository will be looked at' };
    },
  };
}

/** In a time that tells nothing of either, not even a length. */
function same(given: string | string[] | undefined, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return typeof given === 'string' && timingSafeEqual(digest(given), digest(expected));
}
