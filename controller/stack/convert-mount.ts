import type { Mount } from '../swarm/swarm-types.ts';
import type { ComposeModel, VolumeMount } from './compose-schema.ts';
import { defined } from './defined.ts';
import type { StackScope } from './stack-scope.ts';

/** One mount of a service; a named volume brings its driver and labels along, since each node makes it on its own. */
export function convertMount(mount: VolumeMount, model: ComposeModel, scope: StackScope): Mount {
  const common = defined({ Type: mount.type, Target: mount.target, ReadOnly: mount.read_only });
  switch (mount.type) {
    case 'bind':
      return {
        ...common,
        ...defined({
          Source: mount.source,
          BindOptions: mount.bind && defined({ Propagation: mount.bind.propagation }),
        }),
      };
    case 'tmpfs':
      return {
        ...common,
        ...defined({ TmpfsOptions: mount.tmpfs && defined({ SizeBytes: mount.tmpfs.size }) }),
      };
    case 'volume':
      return mount.source === undefined
        ? common
        : { ...common, ...namedVolume(mount, mount.source, model, scope) };
    default:
      return mount.type satisfies never;
  }
}

function namedVolume(
  mount: VolumeMount,
  source: string,
  model: ComposeModel,
  scope: StackScope,
): Pick<Mount, 'Source' | 'VolumeOptions'> {
  const volume = model.volumes[source] ?? {};
  const Source = scope.target(source, volume);
  const NoCopy = mount.volume?.nocopy;
  if (volume.external === true) return { Source, ...(NoCopy === true && { VolumeOptions: { NoCopy } }) };
  const driver = defined({ Name: volume.driver, Options: volume.driver_opts });
  const DriverConfig = Object.keys(driver).length > 0 ? driver : undefined;
  return {
    Source,
    VolumeOptions: { Labels: { ...volume.labels, ...scope.labels }, ...defined({ NoCopy, DriverConfig }) },
  };
}
