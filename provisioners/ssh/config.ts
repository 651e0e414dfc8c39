import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { engineField } from '../shared/engine-packages.ts';

const port = z.int().min(1).max(65_535);

const hostKeyField = () =>
  z
    .string()
    .regex(
      /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,2}( .*)?$/,
      'must be a public key such as ssh-keyscan prints: ssh-ed25519 AAAA...',
    )
    .describe('public host key, as ssh-keyscan prints it without the name; any other is refused');

/** Whoever is reached over ssh. */
const door = {
  port: port.exactOptional().describe('port of its sshd, where it is another one than that of all'),
  user: z.string().min(1).exactOptional().describe('who to log in as, where it is another one than on all'),
  hostKey: hostKeyField().exactOptional(),
};

const hostSchema = z.strictObject({
  ...door,
  host: z.string().min(1).describe('name or address at which its sshd answers'),
  address: z
    .string()
    .refine(isIPv4, 'must be an IPv4 address')
    .exactOptional()
    .describe('address that the other machines use for it; by default `host`, which is an address then'),
});

/** Machines that exist, reached over ssh as an ordinary user with sudo. */
export const sshConfigSchema = z
  .strictObject({
    user: z
      .string()
      .min(1)
      .default('root')
      .describe('who to log in as; needs sudo without a password, or is root'),
    port: port.default(22).describe('port of their sshd'),
    keyFile: z
      .string()
      .regex(/^(\/|~\/)/, 'must begin with / or ~/')
      .exactOptional()
      .describe('private key without a passphrase; without it the agent at SSH_AUTH_SOCK is asked'),
    trustOnFirstUse: z
      .boolean()
      .default(false)
      .describe(
        'take the host key that a machine without `hostKey` offers at first contact, and only that one from then on',
      ),
    bastion: z
      .strictObject({ ...door, host: hostSchema.shape.host, hostKey: hostKeyField() })
      .exactOptional()
      .describe('an sshd through which all machines are reached'),
    engine: engineField(),
    hosts: z
      .record(z.string(), hostSchema)
      .describe('where each machine of the manifest is, by its name, which is its own host name'),
  })
  .superRefine(({ hosts }, context) => {
    for (const [name, { host, address }] of Object.entries(hosts)) {
      if (address !== undefined || isIPv4(host)) continue;
      const message = 'is a name: the address that the other machines use is needed, too';
      context.addIssue({ code: 'custom', path: ['hosts', name, 'host'], message });
    }
  });

export type SshConfig = z.infer<typeof sshConfigSchema>;
