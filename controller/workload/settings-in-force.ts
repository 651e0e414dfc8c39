import { formatDuration } from '../../crds/parse-duration.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { LiveConfig, LiveService } from '../swarm/swarm-types.ts';

/**
 * Names of what decides how soon a failure is noticed and mended, and how much there is to do. Nothing else is told: what
 * a stack is given may be secret.
 */
const telling =
  /timeout|interval|delay|retries|heartbeat|session|recovery|replication|isr\b|acks|trigger|watermark|partitions|^(rate|record_bytes|generators|products)$/i;

/** A line of a properties file, or of Spark's: `name=value`, `name value`. */
const property = /^\s*([^#!\s=][^\s=]*)\s*[=\s]\s*(.*?)\s*$/;

/** As the swarm holds them now; two calls to a manager. */
export async function readSettings(
  swarm: SwarmGateway,
  signal: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  const [services, configs] = await Promise.all([swarm.listServices(signal), swarm.listConfigs(signal)]);
  return settingsInForce(services, configs);
}

/**
 * What services were given that governs detection: by environment, by files of properties, by their restart policy; and
 * their images. By its own name what all services that have it agree upon, else with the service before it.
 */
export function settingsInForce(
  services: readonly LiveService[],
  configs: readonly LiveConfig[],
): Readonly<Record<string, string>> {
  const given = services.flatMap(({ Spec: { Name, TaskTemplate } }) => {
    const { ContainerSpec, RestartPolicy } = TaskTemplate;
    const delay = RestartPolicy?.Delay;
    const settings = [
      ...(ContainerSpec.Env ?? []).map((line) => /^([^=]+)=(.*)$/s.exec(line)),
      ...(ContainerSpec.Configs ?? [])
        .filter(({ File }) => File && /\.(conf|properties)$/.test(File.Name))
        .flatMap(({ ConfigID }) => propertiesOf(configs, ConfigID)),
    ].flatMap((match) => (match && telling.test(match[1]!) ? [[match[1]!, match[2]!] as const] : []));
    return [
      ...settings,
      ['image', ContainerSpec.Image] as const,
      ...(delay === undefined ? [] : [['restart delay', formatDuration(delay / 1e6)] as const]),
    ].map(([name, value]) => ({ name, value, service: Name }));
  });
  const agreed = (name: string) =>
    new Set(given.filter((each) => each.name === name).map(({ value }) => value)).size === 1;
  return Object.fromEntries(
    given
      .map(({ name, value, service }) => [agreed(name) ? name : `${service} ${name}`, value] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function propertiesOf(
  configs: readonly LiveConfig[],
  id: string | undefined,
): readonly (RegExpExecArray | null)[] {
  const config = configs.find(({ ID }) => ID === id);
  const text = Buffer.from(config?.Spec.Data ?? '', 'base64').toString();
  return text.split('\n').map((line) => property.exec(line));
}
