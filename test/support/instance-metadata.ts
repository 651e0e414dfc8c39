import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import type { InstanceOrder } from './strict-aws.ts';

const service = '169.254.169.254';

const tokenLife = 'x-aws-ec2-metadata-token-ttl-seconds';

interface MetadataAnswer {
  readonly status: number;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Tree = { readonly [name: string]: string | Tree };

/**
 * What an instance asks about itself at 169.254.169.254: version 2 of AWS's metadata service, which answers nobody without a
 * token, each instance about itself only, and not further away than was ordered.
 */
export class InstanceMetadata {
  readonly #gateway: string;
  readonly #subnet: string;
  readonly #server = createServer((incoming, outgoing) => this.#serve(incoming, outgoing));
  /** By address. */
  readonly #instances = new Map<string, InstanceOrder>();
  readonly #tokens = new Map<string, string>();

  /** For machines of a network of this host, whose gateway it is. */
  constructor(gateway: string, subnet: string) {
    this.#gateway = gateway;
    this.#subnet = subnet;
  }

  async open(): Promise<void> {
    this.#server.listen(0, this.#gateway);
    await once(this.#server, 'listening');
    const asked = ['-s', this.#subnet, '-d', service, '-p', 'tcp', '--dport', '80'];
    const here = ['-j', 'DNAT', '--to-destination', `${this.#gateway}:${this.#port}`];
    await iptables('nat', '-A', 'PREROUTING', ...asked, ...here);
  }

  /** Takes away what one that was killed has left, too. */
  async close(): Promise<void> {
    await removeRules('nat', `-s ${this.#subnet} -d ${service}/32 `);
    await removeRules('mangle', `-s ${this.#gateway}/32 `);
    this.#instances.clear();
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async add(order: InstanceOrder): Promise<void> {
    this.#instances.set(order.address, order);
    const answer = ['-s', this.#gateway, '-d', order.address, '-p', 'tcp', '--sport', `${this.#port}`];
    await iptables('mangle', '-A', 'OUTPUT', ...answer, '-j', 'TTL', '--ttl-set', `${order.hopLimit}`);
  }

  async remove(id: string): Promise<void> {
    const gone = [...this.#instances.values()].filter((order) => order.id === id);
    for (const { address } of gone) {
      await removeRules('mangle', `-s ${this.#gateway}/32 -d ${address}/32 `);
      this.#instances.delete(address);
    }
  }

  get #port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  #serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { status, text = '', headers } = this.#answer(incoming);
    outgoing.writeHead(status, { 'content-type': 'text/plain', ...headers });
    outgoing.end(text);
  }

  #answer({ method, url = '', headers, socket }: IncomingMessage): MetadataAnswer {
    const address = socket.remoteAddress ?? '';
    const instance = this.#instances.get(address);
    if (!instance) return { status: 404 };
    if (method === 'PUT' && url === '/latest/api/token') {
      // Through a proxy, which whoever can be made to call an address of somebody else's choice is.
      if (headers['x-forwarded-for'] !== undefined) return { status: 403 };
      const lifeS = Number(headers[tokenLife]);
      if (!(lifeS >= 1 && lifeS <= 21_600)) return { status: 400 };
      const token = randomUUID();
      this.#tokens.set(token, address);
      return { status: 200, text: token, headers: { [tokenLife]: `${lifeS}` } };
    }
    if (this.#tokens.get(`${headers['x-aws-ec2-metadata-token']}`) !== address) return { status: 401 };
    const found = lookUp(treeOf(instance), url);
    if (method !== 'GET' || found === undefined) return { status: 404 };
    return { status: 200, text: typeof found === 'string' ? found : listing(found) };
  }
}

const iptables = (table: string, ...args: readonly string[]): Promise<string> =>
  runCommand('iptables', ['-w', '-t', table, ...args], {}, AbortSignal.timeout(10_000));

/** Those of a table that have these words, as iptables puts them. */
async function removeRules(table: string, words: string): Promise<void> {
  const rules = (await iptables(table, '-S')).split('\n').filter((rule) => rule.includes(words));
  for (const rule of rules) await iptables(table, '-D', ...rule.split(' ').slice(1));
}

/** As much of "Instance metadata categories" of AWS's guide as somebody asks for. */
function treeOf({ id, address, userData, publicKey, role }: InstanceOrder): Tree {
  const hostname = `ip-${address.replaceAll('.', '-')}.internal`;
  return {
    'meta-data': {
      ...{ 'instance-id': id, hostname, 'local-hostname': hostname, 'local-ipv4': address },
      'public-keys': { '0=cluster': '', '0': { 'openssh-key': publicKey } },
      ...(role && { iam: { 'security-credentials': { [role.name]: credentialsOf(role) } } }),
    },
    ...{ 'user-data': userData, dynamic: { 'instance-identity': { document: '{}' } } },
  };
}

function credentialsOf({ accessKeyId, secretAccessKey, token }: NonNullable<InstanceOrder['role']>): string {
  const Expiration = new Date(Date.now() + 6 * 3_600_000).toISOString();
  return JSON.stringify({
    ...{ Code: 'Success', Type: 'AWS-HMAC', LastUpdated: new Date().toISOString(), Expiration },
    ...{ AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: token },
  });
}

/** Of any version: each says the same. */
function lookUp(tree: Tree, url: string): string | Tree | undefined {
  const [, ...names] = url.split('/').filter(Boolean);
  return names.reduce<string | Tree | undefined>(
    (at, name) => (typeof at === 'object' ? at[name] : undefined),
    tree,
  );
}

function listing(tree: Tree): string {
  const names = Object.entries(tree).map(([name, value]) => (typeof value === 'string' ? name : `${name}/`));
  // A key is told by its number and name, and looked up by its number alone.
  return names.filter((name) => name !== '0/').join('\n');
}
