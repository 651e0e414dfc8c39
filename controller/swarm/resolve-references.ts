import { EngineError } from './engine-error.ts';
import type { SwarmGateway } from './swarm-gateway.ts';
import type { ServiceSpec } from './swarm-types.ts';

/** Ids by name of what a service may refer to. */
export interface ReferenceIds {
  readonly networks: ReadonlyMap<string, string>;
  readonly configs: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, string>;
}

/**
 * The spec with the ids that a write needs. Throws NOT_FOUND naming all that the swarm lacks.
 */
export function resolveReferences(spec: ServiceSpec, ids: ReferenceIds): ServiceSpec {
  const missing: string[] = [];
  const find = (kind: keyof ReferenceIds, name: string): string => {
    const id = ids[kind].get(name);
    if (id === undefined) missing.push(`${kind.slice(0, -1)} ${name}`);
    return id ?? '';
  };
  const { TaskTemplate } = spec;
  const { ContainerSpec } = TaskTemplate;
  const { CredentialSpec } = ContainerSpec.Privileges ?? {};
  const resolved: ServiceSpec = {
    ...spec,
    TaskTemplate: {
      ...TaskTemplate,
      Networks: (TaskTemplate.Networks ?? []).map((it) => ({ ...it, Target: find('networks', it.Target) })),
      ContainerSpec: {
        ...ContainerSpec,
        ...(CredentialSpec?.Config !== undefined && {
          Privileges: {
            ...ContainerSpec.Privileges,
            CredentialSpec: { ...CredentialSpec, Config: find('configs', CredentialSpec.Config) },
          },
        }),
        Configs: (ContainerSpec.Configs ?? []).map((it) => ({
          ...it,
          ConfigID: find('configs', it.ConfigName),
        })),
        Secrets: (ContainerSpec.Secrets ?? []).map((it) => ({
          ...it,
          SecretID: find('secrets', it.SecretName),
        })),
      },
    },
  };
  if (missing.length === 0) return resolved;
  throw new EngineError(
    'NOT_FOUND',
    `service ${spec.Name} needs ${missing.join(', ')}, which the swarm lacks`,
  );
}

/** What the specs of one pass refer to by name: listed once for all of them, and again for one that it lacks. */
export class References {
  #last: Promise<ReferenceIds> | undefined;

  async resolve(spec: ServiceSpec, swarm: SwarmGateway, signal: AbortSignal): Promise<ServiceSpec> {
    if (this.#last) {
      const resolved = await this.#last.then((ids) => resolveReferences(spec, ids)).catch(() => undefined);
      if (resolved) return resolved;
    }
    this.#last = listReferences(swarm, signal);
    return resolveReferences(spec, await this.#last);
  }
}

async function listReferences(swarm: SwarmGateway, signal: AbortSignal): Promise<ReferenceIds> {
  const [networks, configs, secrets] = await Promise.all([
    swarm.listNetworks(signal),
    swarm.listConfigs(signal),
    swarm.listSecrets(signal),
  ]);
  return {
    networks: new Map(networks.map(({ Name, Id }) => [Name, Id])),
    configs: new Map(configs.map((config) => [config.Spec.Name, config.ID])),
    secrets: new Map(secrets.map((secret) => [secret.Spec.Name, secret.ID])),
  };
}
