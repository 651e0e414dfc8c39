import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { quantityField } from '../../crds/quantity.ts';
import { OVERLAY_POOL } from '../contract.ts';
import { overlap, parseSubnet, readSubnet } from '../shared/addresses.ts';

const nowhere = { first: -1, last: -1 };

/** The lab: machines as containers of the local Docker engine, all on one host. */
export const labConfigSchema = z.strictObject({
  subnet: z
    .string()
    .regex(/^(\d{1,3}\.){3}\d{1,3}\/\d{1,2}$/, 'must be an IPv4 network such as 10.98.0.0/24')
    .refine(
      (subnet) => readSubnet(subnet) !== undefined,
      'must be an IPv4 network of /8 to /28 whose host bits are zero',
    )
    .refine(
      (subnet) => !overlap(readSubnet(subnet) ?? nowhere, parseSubnet(OVERLAY_POOL)),
      `must be clear of ${OVERLAY_POOL}, from which the swarm takes its overlay networks`,
    )
    .default('10.98.0.0/24')
    .describe('IPv4 network of the machines; node number i (from 0) has the address base + 11 + i'),
  memory: quantityField().default('3Gi').describe('memory limit of each machine, without swap'),
  cpus: z.number().positive().default(2).describe('CPU limit of each machine; at most what the host has'),
  disk: quantityField()
    .default('8Gi')
    .describe(
      'size of the file system that holds the volumes of each machine; on the host it takes what is used',
    ),
  pids: z.int().min(256).default(8192).describe('limit of processes and threads of each machine'),
  dns: z
    .array(z.string().refine(isIPv4, 'must be an IPv4 address'))
    .default([])
    .describe('name servers of the machines instead of those of the host, for example where lookups hang'),
});

export type LabConfig = z.infer<typeof labConfigSchema>;
