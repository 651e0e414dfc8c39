import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import type { Test } from 'tap';
import { messageOf } from '../../provisioners/contract.ts';
import { installPackages } from '../../provisioners/shared/install-packages.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';

/** A font with it, for without one nothing is written. */
const packages = ['chromium', 'fonts-roboto-unhinted'];

/** Installs Chromium where that is possible; else the test ends here and says so, and fails where CI is set. */
export async function chromiumOrSkip(t: Test): Promise<void> {
  const signal = AbortSignal.timeout(600_000);
  try {
    await runCommand('chromium', ['--version'], {}, signal).catch(() =>
      installPackages(packages, (line) => t.comment(line), signal),
    );
  } catch (error) {
    if (process.env.CI) return t.bailout(`no Chromium, and CI is set: ${messageOf(error)}`);
    process.stdout.write(`# SKIPPED: THE PAGE WAS NOT OPENED. No Chromium: ${messageOf(error)}\n`);
    process.exit(0);
  }
}

/** How a page is seen. */
export interface Look {
  readonly width: number;
  readonly height: number;
  readonly scheme: 'light' | 'dark';
  readonly scale?: number;
}

/** One page in a headless Chromium, over the DevTools protocol. */
export interface OpenPage {
  /** What was asked for from anywhere but the page's own file, and what went wrong or was said on the console. */
  readonly requests: readonly string[];
  readonly complaints: readonly string[];
  /** Resolves when the page stands still in this look. */
  look(look: Look): Promise<void>;
  /** The value of an expression; promises are awaited. */
  evaluate<T>(expression: string): Promise<T>;
  /** PNG of the box that the selector names, or of what is seen. */
  screenshot(selector?: string): Promise<Buffer>;
  press(key: string): Promise<void>;
  /** PDF, as it would be printed. */
  print(): Promise<Buffer>;
  close(): Promise<void>;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
  readonly sessionId?: string;
}

type Send = <T>(method: string, params?: object) => Promise<T>;

/** Opens a file; the caller closes the page, and with it the browser. */
export async function openPage(url: string, profileDir: string): Promise<OpenPage> {
  const browser = spawn(
    'chromium',
    [
      ...['--headless=new', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', '--hide-scrollbars'],
      ...[
        '--disable-dev-shm-usage',
        '--force-color-profile=srgb',
        `--user-data-dir=${profileDir}`,
        'about:blank',
      ],
    ],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
  );
  const requests: string[] = [];
  const complaints: string[] = [];
  const connection = connect(browser, ({ method, params = {} }) => {
    if (method === 'Network.requestWillBeSent') {
      const { request } = params as { request: { url: string } };
      if (!/^(file|data|blob):/.test(request.url)) requests.push(request.url);
    }
    if (
      method === 'Runtime.exceptionThrown' ||
      method === 'Runtime.consoleAPICalled' ||
      method === 'Log.entryAdded'
    )
      complaints.push(JSON.stringify(params));
  });
  const { targetId } = await connection.send<{ targetId: string }>('Target.createTarget', {
    url: 'about:blank',
  });
  const attached = await connection.send<{ sessionId: string }>('Target.attachToTarget', {
    targetId,
    flatten: true,
  });
  const send: Send = (method, params) => connection.send(method, params, attached.sessionId);
  for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(`${domain}.enable`);
  const loaded = connection.event('Page.loadEventFired');
  await send('Page.navigate', { url });
  await loaded;
  return { requests, complaints, ...actionsOf(send), close: () => end(browser, connection.send) };
}

async function end(browser: ChildProcess, send: Send): Promise<void> {
  const closed = once(browser, 'close');
  await send('Browser.close').catch(() => browser.kill());
  await closed;
}

function actionsOf(send: Send): Omit<OpenPage, 'requests' | 'complaints' | 'close'> {
  const evaluate = async <T>(expression: string): Promise<T> => {
    const answer = await send<{ result: { value: T }; exceptionDetails?: unknown }>('Runtime.evaluate', {
      ...{ expression, awaitPromise: true, returnByValue: true },
    });
    if (answer.exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(answer.exceptionDetails)}`);
    return answer.result.value;
  };
  return {
    evaluate,
    async look({ width, height, scheme, scale = 1 }) {
      await send('Emulation.setEmulatedMedia', {
        features: [{ name: 'prefers-color-scheme', value: scheme }],
      });
      const mobile = width < 500;
      await send('Emulation.setDeviceMetricsOverride', { width, height, mobile, deviceScaleFactor: scale });
      // Observers of sizes run before the frame after the next is painted.
      await evaluate(
        'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))',
      );
    },
    async screenshot(selector) {
      const clip =
        selector === undefined
          ? undefined
          : await evaluate<object>(
              `(() => { const { left, top, width, height } = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect(); return { x: left + scrollX, y: top + scrollY, width, height, scale: 1 } })()`,
            );
      const { data } = await send<{ data: string }>('Page.captureScreenshot', {
        ...{ format: 'png', captureBeyondViewport: clip !== undefined, optimizeForSpeed: false },
        ...(clip && { clip }),
      });
      return Buffer.from(data, 'base64');
    },
    async press(key) {
      for (const type of ['keyDown', 'keyUp']) await send('Input.dispatchKeyEvent', { type, key, code: key });
    },
    async print() {
      const { data } = await send<{ data: string }>('Page.printToPDF', {
        printBackground: true,
        paperWidth: 8.27,
        paperHeight: 11.69,
      });
      return Buffer.from(data, 'base64');
    },
  };
}

/** Messages are JSON with a zero byte behind each, on descriptors 3 and 4: no port, no dependency. */
function connect(browser: ChildProcess, onEvent: (message: Message) => void) {
  const [output, input] = [browser.stdio[3] as Writable, browser.stdio[4] as Readable];
  const waiting = new Map<number, (message: Message) => void>();
  const awaited = new Map<string, () => void>();
  let nextId = 1;
  let rest = '';
  input.setEncoding('utf8').on('data', (chunk: string) => {
    const texts = (rest + chunk).split('\0');
    rest = texts.pop() ?? '';
    for (const text of texts) {
      const message = JSON.parse(text) as Message;
      if (message.id !== undefined) waiting.get(message.id)?.(message);
      else onEvent(message);
      awaited.get(message.method ?? '')?.();
    }
  });
  browser.once('close', () => {
    for (const settle of waiting.values()) settle({ error: { message: 'Chromium has ended' } });
  });
  return {
    send: <T>(method: string, params: object = {}, sessionId?: string): Promise<T> =>
      new Promise((resolve, reject) => {
        const id = nextId++;
        waiting.set(id, ({ result, error }) => {
          waiting.delete(id);
          if (error) reject(new Error(`${method}: ${error.message}`));
          else resolve(result as T);
        });
        output.write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`);
      }),
    event: (method: string) => new Promise<void>((resolve) => awaited.set(method, resolve)),
  };
}
