import { z } from 'zod';
import { checked, exactlyOne, type Report } from './exactly-one.ts';
import { labelsField, nameField, textLike } from './fields.ts';
import { resourceSchema } from './object-meta.ts';
import { reportDuplicateNames } from './unique-names.ts';

const byName = { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] };

const nodeSchema = z.strictObject({
  name: nameField().describe('Host name of the machine.'),
  role: z.enum(['manager', 'worker']).describe('Role in the swarm.'),
  labels: labelsField()
    .default({})
    .describe('Swarm node labels, for placement constraints and fault targets.'),
});

const stackSchema = z.strictObject({
  name: nameField().describe('Prefix of everything that the stack makes: <stack>_<service>.'),
  compose: z.string().min(1).describe('Compose file, relative to this manifest.'),
  overrides: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'Compose files that are laid over it in this order, as by docker stack deploy with several -c.',
    ),
  env: z
    .record(
      textLike(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a variable name of letters, digits and underscores'),
      z.string(),
    )
    .default({})
    .describe('Values for ${NAME} in the compose file; no other environment leaks in.'),
});

const checkpointSchema = exactlyOne(
  {},
  {
    path: z
      .strictObject({})
      .describe(
        'One host folder, seen by every node at the same path; lab only. Not isolated: no fault of the network comes between.',
      ),
    hdfs: z
      .strictObject({
        network: z
          .string()
          .min(1)
          .default('streaming_app')
          .describe('The network of the job, by its name in the swarm: <stack>_<network>.'),
      })
      .describe('A service, reached over the network that faults are in: adds the stack hdfs.'),
    s3a: z
      .strictObject({
        bucket: textLike(
          /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
          'a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens',
        ).describe('Where the job may read, write and delete.'),
        prefix: textLike(/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/, 'names, with / between them')
          .default('checkpoint')
          .describe('What the names of its objects begin with.'),
        region: textLike(/^[a-z0-9-]+$/, 'a region such as eu-central-1')
          .exactOptional()
          .describe('That of the bucket; without it AWS is asked which it is.'),
        endpoint: textLike(/^https?:\/\/[^\s/]+$/, 'http:// or https://, a host, and a port')
          .exactOptional()
          .describe('Another store than that of AWS, whose buckets are parts of the path.'),
        credentials: z
          .enum(['role', 'none'])
          .exactOptional()
          .describe(
            'role: of the machine, told by its metadata service; by default where no endpoint is given. none: the store lets the cluster in without.',
          ),
      })
      .describe(
        'A bucket, reached over the network that faults are in; with the role of the machines, never with keys.',
      ),
  },
);

function specSchema<P extends Readonly<Record<string, z.ZodType>>>(provisioners: P) {
  const shape = z.strictObject({
    provisioner: exactlyOne({}, provisioners).describe('Who makes the machines, with its settings.'),
    nodes: z
      .array(nodeSchema)
      .min(1)
      .meta(byName)
      .describe('The machines; their order gives the lab its addresses.'),
    checkpoint: checkpointSchema
      .exactOptional()
      .describe('Where the streaming job keeps its state; without it a stack has to say so under env.'),
    stacks: z.array(stackSchema).default([]).meta(byName).describe('What runs on the swarm.'),
    drift: z
      .enum(['correct', 'report'])
      .default('correct')
      .describe('What to do about changes that others made: put them right, or only say so.'),
    prune: z
      .boolean()
      .default(true)
      .describe('Remove what earlier manifests asked for and this one does not.'),
    replace: z
      .enum(['report', 'allow'])
      .default('report')
      .describe(
        'What to do about what cannot be changed in place: only say so, or make it anew. Workers that were made with other settings (size, image), one at a time; networks, with the services that use them; services of another mode.',
      ),
    suspend: z
      .boolean()
      .default(false)
      .describe(
        'Change nothing, whatever differs: not by an edit, not back, and not when this manifest goes.',
      ),
    deletionPolicy: z
      .enum(['destroy', 'retain'])
      .exactOptional()
      .describe(
        'What becomes of the machines when this resource goes: the default is destroy for lab, else retain.',
      ),
  });
  return checked(shape, checkTopology).describe('The cluster as it should be.');
}

function checkTopology(spec: Readonly<Record<string, unknown>>, report: Report): void {
  reportDuplicateNames(spec.nodes, 'nodes', report);
  reportDuplicateNames(spec.stacks, 'stacks', report);
  reportUnreachable(spec, report);
  reportMachines(fieldOf(fieldOf(spec.provisioner, 'ec2'), 'machines'), spec.nodes, report);
  if (!Array.isArray(spec.nodes) || spec.nodes.length === 0) return;
  const roles = spec.nodes.map((node: unknown) => (node as { role?: unknown } | null | undefined)?.role);
  // A role that is wrong is reported by itself; it may have been meant as the manager's.
  if (roles.every((role) => role === 'worker'))
    report(['nodes'], 'no node has the role manager: a swarm needs one');
}

function fieldOf(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null ? (of as Readonly<Record<string, unknown>>)[name] : undefined;
}

/** What is particular to a machine that is none of the nodes, or that must not be taken back at any moment. */
function reportMachines(machines: unknown, nodes: unknown, report: Report): void {
  if (typeof machines !== 'object' || machines === null || !Array.isArray(nodes)) return;
  for (const [name, machine] of Object.entries(machines)) {
    const path = ['provisioner', 'ec2', 'machines', name];
    const node: unknown = nodes.find((each) => fieldOf(each, 'name') === name);
    if (node === undefined) report(path, 'is no node of this cluster');
    else if (fieldOf(machine, 'spot') === true && fieldOf(node, 'role') === 'manager')
      report([...path, 'spot'], 'is for workers: AWS may take such a machine back, and a manager is needed');
  }
}

/** What machines that somebody else made do not have. */
function reportUnreachable(spec: Readonly<Record<string, unknown>>, report: Report): void {
  if (fieldOf(spec.checkpoint, 'path') && !fieldOf(spec.provisioner, 'lab'))
    report(
      ['checkpoint', 'path'],
      'is a folder of one host, which machines of the lab alone share: take hdfs or s3a',
    );
  const hosts = fieldOf(fieldOf(spec.provisioner, 'ssh'), 'hosts');
  if (typeof hosts !== 'object' || hosts === null || !Array.isArray(spec.nodes)) return;
  for (const [index, node] of spec.nodes.entries()) {
    const name = fieldOf(node, 'name');
    if (typeof name === 'string' && !Object.hasOwn(hosts, name))
      report(['nodes', index, 'name'], 'has no entry in provisioner.ssh.hosts, which says where it is');
  }
}

/** The schema of a ClusterSpec manifest; takes each provisioner's settings schema by name. */
export function clusterSpecSchema<P extends Readonly<Record<string, z.ZodType>>>(provisioners: P) {
  return resourceSchema('ClusterSpec', specSchema(provisioners)).describe(
    'A cluster of machines, the swarm on them, and the stacks that run there.',
  );
}

/** A valid ClusterSpec with its defaults filled in; `compose` paths are absolute once it was loaded from a file. */
export type ClusterSpec = z.output<ReturnType<typeof clusterSpecSchema<Readonly<Record<string, z.ZodType>>>>>;

/** The one provisioner that a cluster names, and its settings, which that provisioner's own schema has checked. */
export function provisionerOf(cluster: ClusterSpec): { readonly name: string; readonly config: unknown } {
  const [[name, config] = ['', undefined]] = Object.entries(cluster.spec.provisioner);
  return { name, config };
}
