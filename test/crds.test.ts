import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import t from 'tap';
import { parse } from 'yaml';
import { z } from 'zod';
import { resourceKinds, statusKinds } from '../controller/resource-kinds.ts';
import { type ClusterSpec, clusterSpecSchema, provisionerOf } from '../crds/cluster-spec.ts';
import { type FaultSchedule, faultOf } from '../crds/fault-schedule.ts';
import { renderAll } from '../crds/generate.ts';
import type { Manifest } from '../crds/manifest.ts';
import { nearest } from '../crds/nearest.ts';
import { formatDuration, parseDuration } from '../crds/parse-duration.ts';
import { parseManifests } from '../crds/parse-resource.ts';
import { measurementPlan } from '../crds/presets.ts';
import { formatPath, formatProblem, ManifestError } from '../crds/problem.ts';

const example = `
apiVersion: spark-failures.io/v1alpha1
kind: ClusterSpec
metadata: { name: six-nodes }
spec:
  provisioner:
    lab: {}
  nodes:
    - { name: node1, role: manager, labels: { place: control } }
    - { name: node4, role: worker,  labels: { place: compute, slot: "1" } }
  checkpoint: { path: {} }
  stacks:
    - { name: streaming,  compose: ../compose/streaming/stack.yaml,  env: { RATE: "2000", PROFILE: defaults } }
    - { name: monitoring, compose: ../compose/monitoring/stack.yaml }
  drift: correct
  prune: true
  deletionPolicy: destroy
---
apiVersion: spark-failures.io/v1alpha1
kind: FaultSchedule
metadata: { name: worker-crash, annotations: { spark-failures.io/run-at: "2" } }
spec:
  clusterRef: { name: six-nodes }
  seed: 42
  when: { now: {} }
  preset: standard
  calibration: 1m30s
  faults:
    - name: crash-one-worker
      target: { services: { matchLabels: { role: spark-worker } }, pick: one }
      hold: 0s
      killContainer: { signal: SIGKILL }
`;

const read = (text: string) => parseManifests<Manifest>(text, 'a.yaml', { ...resourceKinds });

t.test('durations', async (t) => {
  const known: readonly (readonly [string, number])[] = [
    ['0s', 0],
    ['90s', 90_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    ['100us', 0.1],
    ['2.3s', 2300],
  ];
  t.test('mean what Go says', async (t) => {
    for (const [text, ms] of known) t.equal(parseDuration(text), ms, text);
    t.equal(formatDuration(90_000), '1m30s');
    t.equal(formatDuration(3_600_000), '1h');
    t.equal(formatDuration(5500), '5.5s');
  });
  t.test('are refused in every other form', async (t) => {
    for (const text of ['', '90', '10ss', '1m30', ' 1s', '-1s', '1 s', '.5s', '1d', '1S', '1e3s', '1m 30s']) {
      t.throws(() => parseDuration(text), RangeError, JSON.stringify(text));
    }
    t.throws(() => formatDuration(-1), RangeError);
    t.throws(() => formatDuration(Number.NaN), RangeError);
  });
  t.test('survive being written and read', async () => {
    const milliseconds = fc.integer({ min: 0, max: 1e12 });
    fc.assert(fc.property(milliseconds, (ms) => parseDuration(formatDuration(ms)) === ms));
    fc.assert(fc.property(milliseconds, (us) => parseDuration(formatDuration(us / 1000)) === us / 1000));
  });
});

t.test('the example of the design is valid, and its defaults are filled in', async (t) => {
  const { documents, problems } = read(example);
  t.strictSame(problems.map(formatProblem), []);
  t.strictSame(
    documents.map((document) => document.key),
    ['ClusterSpec/six-nodes', 'FaultSchedule/worker-crash'],
  );
  const [cluster, schedule] = documents.map((document) => document.resource) as [ClusterSpec, FaultSchedule];
  t.equal(provisionerOf(cluster).name, 'lab');
  t.match(provisionerOf(cluster).config, { cpus: 2 }, "the provisioner's own defaults too");
  t.strictSame(cluster.spec.stacks[1]?.env, {});
  t.equal(schedule.spec.allowQuorumLoss, false);
  t.strictSame(faultOf(schedule.spec.faults[0]!), { kind: 'killContainer', params: { signal: 'SIGKILL' } });
});

t.test('a preset gives the numbers that the schedule does not give itself', async (t) => {
  const schedule = read(example).documents[1]!.resource as FaultSchedule;
  const standard = {
    ...{
      trials: 10,
      controls: 10,
      calibrationMs: 90_000,
      gateMs: 120_000,
      maxRecoveryMs: 600_000,
      gapMs: 30_000,
    },
  };
  t.strictSame(measurementPlan(schedule.spec), standard);
  t.equal(measurementPlan({ ...schedule.spec, preset: 'smoke' }).trials, 1);
  t.equal(measurementPlan({ ...schedule.spec, preset: 'paper', trials: 7 }).trials, 7);
  t.match(measurementPlan({ ...schedule.spec, preset: 'none' }), { trials: 0, controls: 0, gapMs: 0 });
  t.equal(measurementPlan({ ...schedule.spec, preset: 'none', gap: '1m30s' }).gapMs, 90_000);
});

t.test('there is a control for every five trials, and no fewer than a preset demands', async (t) => {
  const { spec } = read(example).documents[1]!.resource as FaultSchedule;
  const withFaults = (count: number): FaultSchedule['spec'] => ({
    ...spec,
    faults: Array.from({ length: count }, (_, index) => ({ ...spec.faults[0]!, name: `f${index}` })),
  });
  const known: readonly (readonly [FaultSchedule['spec']['preset'], number, number])[] = [
    ['smoke', 7, 0],
    ['quick', 1, 1],
    ['quick', 7, 5],
    ['standard', 1, 10],
    ['standard', 7, 14],
    ['paper', 1, 10],
    ['paper', 7, 42],
  ];
  for (const [preset, faults, controls] of known)
    t.equal(measurementPlan({ ...withFaults(faults), preset }).controls, controls, `${preset}, ${faults}`);
  t.equal(measurementPlan({ ...spec, controls: 0 }).controls, 0);
  t.equal(measurementPlan({ ...spec, preset: 'smoke', controls: 3 }).controls, 3);
  t.equal(
    measurementPlan({ ...withFaults(2), together: ['f0', 'f1'], trials: 20, preset: 'quick' }).controls,
    4,
  );
});

t.test('two provisioners are refused, and the settings of both are judged', async (t) => {
  const none = z.strictObject({});
  const schemas = { ClusterSpec: clusterSpecSchema({ lab: none, ssh: none, ec2: none }) };
  const text = example.split('---')[0]!.replace('lab: {}', 'lab: { size: 1 }\n    ssh: {}');
  t.strictSame(parseManifests(text, 'a.yaml', schemas).problems.map(formatProblem), [
    'a.yaml:7:12: spec.provisioner.lab.size: unknown field',
    'a.yaml:8:5: spec.provisioner.ssh: only one of lab, ssh, ec2 may be given, and lab is',
  ]);
});

t.test('reading a manifest', async (t) => {
  t.test('skips documents that hold nothing', async (t) => {
    const { documents, problems } = read(`---\n# nothing\n---\n${example}\n---\n`);
    t.equal(documents.length, 2);
    t.strictSame(problems, []);
  });
  t.test('finds the place of a field through an alias', async (t) => {
    const text = example
      .replace('lab: {}', 'lab: &settings { cpu: 2 }')
      .replace('path: {}', 'path: *settings');
    t.strictSame(
      read(text).problems.map(({ line, column, path }) => `${line}:${column} ${path}`),
      ['7:22 spec.provisioner.lab.cpu', '7:22 spec.checkpoint.path.cpu'],
    );
  });
  t.test('says which resource a problem belongs to', async (t) => {
    const { problems } = read(example.replace('role: worker', 'role: wroker'));
    t.strictSame(
      problems.map((problem) => problem.resource),
      ['ClusterSpec/six-nodes'],
    );
  });
  t.test('stops aliases that grow without bound', async (t) => {
    const rows = Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`,
    );
    const { problems } = read(`a0: &a0 [x]\n${rows.join('\n')}\n`);
    t.match(problems[0]?.message, /alias/);
  });
  t.test('stops what is nested without end, though it could not be gone through', async (t) => {
    const broken = (text: string) => read(text).problems.map(formatProblem);
    t.strictSame(broken(`a: ${'['.repeat(20_000)}`), ['a.yaml:1:102: nested deeper than 100 levels']);
    t.strictSame(broken(`${'- '.repeat(20_000)}a\nb: c`), ['a.yaml:1:1: nested deeper than 100 levels']);
    t.strictSame(broken('kind: &a { b: *a }'), ['a.yaml:1:1: not valid YAML: nested deeper than 100 levels']);
  });
  t.test('does not confuse fields with what every object inherits', async (t) => {
    for (const name of ['constructor', '__proto__', 'toString']) {
      t.match(
        read(`${example.split('---')[0]}  ${name}: {}\n`).problems,
        [{ message: /unknown field/ }],
        name,
      );
      t.match(read(`kind: ${name}`).problems.at(-1), { path: 'kind' }, name);
    }
  });
  t.test('never throws, and every problem has a place, whatever happened to the text', async () => {
    const damaged = fc
      .tuple(fc.nat(example.length), fc.nat(60), fc.string({ maxLength: 8 }))
      .map(([at, cut, put]) => example.slice(0, at) + put + example.slice(at + cut));
    fc.assert(
      fc.property(fc.oneof(fc.string(), damaged), (text) => {
        const lines = text.split(/\r\n|\r|\n/).length;
        const { problems } = read(text);
        return problems.every(({ line, column }) => line >= 1 && line <= lines + 1 && column >= 1);
      }),
      { numRuns: 300 },
    );
  });
});

t.test('suggests a word only when it is close', async (t) => {
  t.equal(nearest('wroker', ['manager', 'worker']), 'worker');
  t.equal(nearest('Killcontainer', ['killContainer', 'isolateNode']), 'killContainer');
  t.equal(nearest('meteor', ['killContainer', 'isolateNode']), undefined);
  t.equal(nearest('x', []), undefined);
});

t.test('an error carries every problem', async (t) => {
  const { problems } = read(example.replace('role: worker', 'role: wroker').replace('hold: 0s', 'hold: 0'));
  const error = new ManifestError(problems);
  t.equal(error.code, 'MANIFEST_INVALID');
  t.equal(error.problems.length, 2);
  t.match(error.message, /a\.yaml:10:28: .*\n.*a\.yaml:\d+:\d+: spec\.faults\[0\]\.hold/);
  t.equal(formatPath(['spec', 'nodes', 2, 'labels', 'a.b/c']), 'spec.nodes[2].labels["a.b/c"]');
});

t.test('the generated files', async (t) => {
  const files = renderAll(resourceKinds, statusKinds);
  t.test('are those that are committed: else run npm run generate', async (t) => {
    for (const [name, text] of files)
      t.equal(await readFile(`crds/${name}`, 'utf8').catch(String), text, name);
  });
  t.test('are structural, as the API server demands', async (t) => {
    for (const [name, text] of files) {
      if (!name.endsWith('.yaml')) continue;
      const crd = parse(text) as { spec: { versions: [{ schema: { openAPIV3Schema: unknown } }] } };
      t.strictSame(structuralFaults(crd.spec.versions[0].schema.openAPIV3Schema, ''), [], name);
    }
  });
});

const ALLOWED = new Set(
  (
    'type description default enum pattern minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum items ' +
    'minItems maxItems properties required additionalProperties minProperties nullable oneOf format multipleOf ' +
    'x-kubernetes-list-type x-kubernetes-list-map-keys'
  ).split(' '),
);

/** The rules of structural schemas that ours could break, from the documentation of CustomResourceDefinitions. */
function structuralFaults(schema: unknown, at: string): string[] {
  const node = schema as Readonly<Record<string, unknown>>;
  const faults = Object.keys(node)
    .filter((key) => !ALLOWED.has(key))
    .map((key) => `${at}: ${key} is not allowed`);
  if (typeof node.type !== 'string') faults.push(`${at}: has no type`);
  if (node.additionalProperties !== undefined && node.properties !== undefined)
    faults.push(`${at}: open and closed`);
  if (typeof node.pattern === 'string' && node.pattern.includes('(?'))
    faults.push(`${at}: pattern is not RE2`);
  for (const one of (node.oneOf ?? []) as object[]) {
    if (Object.keys(one).join() !== 'required') faults.push(`${at}: oneOf may only require`);
  }
  const children = {
    ...(node.properties as object | undefined),
    items: node.items,
    '*': node.additionalProperties,
  };
  for (const [key, child] of Object.entries(children)) {
    if (typeof child === 'object') faults.push(...structuralFaults(child, `${at}.${key}`));
  }
  return faults;
}
