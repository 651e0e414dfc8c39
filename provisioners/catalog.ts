import type { z } from 'zod';
import type { Provisioner, ProvisionerContext } from './contract.ts';
import { type Ec2Config, ec2ConfigSchema } from './ec2/config.ts';
import { type LabConfig, labConfigSchema } from './lab/config.ts';
import { type SshConfig, sshConfigSchema } from './ssh/config.ts';

/** One way to get machines: its name and settings as the manifest has them; its code is loaded when it is used. */
export interface ProvisionerEntry<C = unknown> {
  readonly name: string;
  readonly config: z.ZodType<C>;
  readonly load: () => Promise<(config: C, context: ProvisionerContext) => Provisioner>;
}

const entry = <C>(made: ProvisionerEntry<C>): ProvisionerEntry => made as ProvisionerEntry;

/** Every provisioner, in one place. */
export const provisionerCatalog: readonly ProvisionerEntry[] = [
  entry<LabConfig>({
    name: 'lab',
    config: labConfigSchema,
    load: async () => (await import('./lab/provisioner.ts')).labProvisioner,
  }),
  entry<SshConfig>({
    name: 'ssh',
    config: sshConfigSchema,
    load: async () => (await import('./ssh/provisioner.ts')).sshProvisioner,
  }),
  entry<Ec2Config>({
    name: 'ec2',
    config: ec2ConfigSchema,
    load: async () => (await import('./ec2/provisioner.ts')).ec2Provisioner,
  }),
];
