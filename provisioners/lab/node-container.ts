import type Docker from 'dockerode';
import { quantityBytes } from '../../crds/quantity.ts';
import type { LabConfig } from './config.ts';
import type { LabEngine } from './lab-engine.ts';

/** Where every node of a cluster sees the one shared checkpoint folder. */
export const checkpointMount = '/var/lib/spark-failures/checkpoint';

/**
 * What systemd and an engine inside need. Never --privileged: it cannot be had without CAP_SYS_TIME, and there is one
 * clock for all machines and the host. CAP_SYS_RESOURCE and CAP_SYS_MODULE are left out because nothing needs them.
 */
const capabilities = [
  ...[
    'SYS_ADMIN',
    'NET_ADMIN',
    'SYS_PTRACE',
    'SYS_RAWIO',
    'SYS_NICE',
    'IPC_LOCK',
    'DAC_READ_SEARCH',
    'SYSLOG',
  ],
  ...['NET_BROADCAST', 'LINUX_IMMUTABLE', 'BLOCK_SUSPEND', 'MAC_ADMIN', 'MAC_OVERRIDE', 'AUDIT_CONTROL'],
  ...['AUDIT_READ', 'LEASE', 'WAKE_ALARM', 'SYS_PACCT', 'SYS_TTY_CONFIG', 'IPC_OWNER'],
];

/** The engine has known the cgroup namespace since 20.10; its types do not. */
export type MachineHostConfig = Docker.HostConfig & { readonly CgroupnsMode: 'private' };

/** What turns any container of the node image into a machine: systemd as process 1, an engine on its own store. */
export const machineHostConfig = (
  config: LabConfig,
  engine: LabEngine,
  binds: readonly string[],
): MachineHostConfig => ({
  CapAdd: [...capabilities],
  CgroupnsMode: 'private',
  SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined'],
  MaskedPaths: [],
  ReadonlyPaths: [],
  DeviceCgroupRules: ['a *:* rwm'],
  Tmpfs: { '/run': 'exec,mode=755', '/tmp': 'exec,mode=1777' },
  Binds: [...binds],
  Memory: quantityBytes(config.memory),
  MemorySwap: quantityBytes(config.memory),
  NanoCpus: Math.floor(Math.min(config.cpus, engine.cpus) * 1e9),
  PidsLimit: config.pids,
  Dns: [...config.dns],
});

/** All that differs between two nodes. */
export interface NodeContainer {
  readonly image: string;
  readonly hostname: string;
  readonly network: string;
  readonly address: string;
  readonly authorizedKey: string;
  readonly hostPrivateKey: string;
  /** Of the file system that holds its volumes. */
  readonly diskBytes: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly hostConfig: MachineHostConfig;
}

/** The engine's words for one node. */
export const nodeContainerOptions = (
  node: NodeContainer,
  publishSsh: boolean,
): Docker.ContainerCreateOptions => ({
  Image: node.image,
  Hostname: node.hostname,
  Labels: { ...node.labels },
  Env: [
    `SF_AUTHORIZED_KEY=${node.authorizedKey}`,
    `SF_HOST_KEY_B64=${Buffer.from(node.hostPrivateKey).toString('base64')}`,
    `SF_DISK_BYTES=${node.diskBytes}`,
  ],
  ExposedPorts: { '22/tcp': {} },
  HostConfig: {
    ...node.hostConfig,
    // A reboot from inside ends the container: it comes back, as a machine does. What is powered off, by a kill, stays off.
    RestartPolicy: { Name: 'unless-stopped' },
    NetworkMode: node.network,
    ...(publishSsh ? { PortBindings: { '22/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] } } : {}),
  },
  NetworkingConfig: { EndpointsConfig: { [node.network]: { IPAMConfig: { IPv4Address: node.address } } } },
});
