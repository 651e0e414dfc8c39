import type Docker from 'dockerode';

/** The engine's answers that mean "it is so already" count as done. */
export const ignoring = async <T>(
  statusCodes: readonly number[],
  work: Promise<T>,
): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (statusCodes.includes((error as { statusCode?: number }).statusCode ?? 0)) return undefined;
    throw error;
  }
};

/** Unless told apart, dockerode repeats the whole body, keys in the environment included, in the URL. */
const apart = (query: object, body: object) => ({ _query: query, _body: body });

/** Makes a container; its options go into the body only. */
export const createContainer = (
  docker: Docker,
  name: string,
  options: Omit<Docker.ContainerCreateOptions, 'name'>,
): Promise<Docker.Container> =>
  docker.createContainer(apart({ name }, options) as unknown as Docker.ContainerCreateOptions);

/** Makes a network; its options go into the body only. */
export const createNetwork = (
  docker: Docker,
  options: Docker.NetworkCreateOptions,
): Promise<Docker.Network> =>
  docker.createNetwork(apart({}, options) as unknown as Docker.NetworkCreateOptions);

/** Resolves when the container is gone, whoever removes it. */
export const removeContainer = async (container: Docker.Container): Promise<void> => {
  await ignoring([404, 409], container.remove({ force: true, v: true }));
  await ignoring([404], container.wait({ condition: 'removed' }));
};

/** Runs a shell script inside, as root, to its end; what comes of it is not told. */
export const runInside = async (
  container: Docker.Container,
  script: string,
  ...args: readonly string[]
): Promise<void> => {
  const exec = await container.exec({ Cmd: ['sh', '-c', script, 'sh', ...args], AttachStdout: true });
  const output = await exec.start({});
  await new Promise((resolve) => output.resume().once('close', resolve));
};

/** Lets frozen processes of a machine go: cgroup version 1 lets nobody kill them, so that their container would never end. */
export const thawScript = `find /sys/fs/cgroup/freezer -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} ';'`;
