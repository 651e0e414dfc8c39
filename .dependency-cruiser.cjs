// Who may import whom: the table in ARCHITECTURE.md, as rules.
const rule = (name, from, to, comment) => ({ name, severity: 'error', from: { path: from }, to, comment });
const ours = '^(controller|crds|state-machines|provisioners|compose|test)/';

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    rule('crds-are-pure', '^crds/(?!generate)', { path: ours, pathNot: '^crds/' }, 'schemas know nothing of ours'),
    rule('crds-no-builtins', '^crds/(?!generate)', { dependencyTypes: ['core'] }, 'schemas touch no machine'),
    rule('provisioner-siblings', '^provisioners/(lab|ssh|ec2)/', { path: '^provisioners/(lab|ssh|ec2)/', pathNot: '^provisioners/$1/' }, 'a provisioner never reads a sibling'),
    rule('provisioners-below', '^provisioners/', { path: '^(controller|state-machines|compose)/' }, 'machines know nothing of clusters and faults'),
    rule('machines-know-contracts', '^state-machines/', { path: '^(controller|compose|provisioners)/', pathNot: '^provisioners/contract' }, 'faults see a node only as the contract shows it'),
    rule('machines-no-docker', '^state-machines/', { path: 'node_modules/(dockerode|ssh2)' }, 'faults act through scripts on nodes'),
    rule('fault-siblings', '^state-machines/faults/([^/]+)/', { path: '^state-machines/faults/', pathNot: '^state-machines/faults/($1/|[^/]+$)' }, 'a mechanism never reads a sibling'),
    rule('faults-are-pure', '^state-machines/faults/[^/]+/', { path: ours, pathNot: '^(state-machines/(contract|faults/)|crds/)' }, 'a fault imports the contract, what manifests are made of, and zod'),
    rule('faults-no-builtins', '^state-machines/faults/', { dependencyTypes: ['core'] }, 'a fault is a plan; only the runner acts'),
    rule('catalogues-only', '^controller/(?!resource-kinds)', { path: '^(state-machines/faults|provisioners/(lab|ssh|ec2|catalog))' }, 'members are reached through resource-kinds.ts'),
    rule('one-docker-client', '^(controller|crds|state-machines|compose|provisioners/(?!shared/docker-client))', { path: 'node_modules/dockerode', dependencyTypesNot: ['type-only'] }, 'one guarded factory'),
    rule('workload-apart', '^compose/streaming/', { path: ours, pathNot: '^(compose/streaming/|state-machines/recovery/(sample|control-planes)\.|provisioners/deadline\.)' }, 'the workload knows what a row is made of'),
    rule('generator-and-observer', '^compose/streaming/generator/', { path: '^compose/streaming/observer/' }, 'they share records only'),
    rule('observer-and-generator', '^compose/streaming/observer/', { path: '^compose/streaming/generator/' }, 'they share records only'),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|node_modules)/' },
  },
};
