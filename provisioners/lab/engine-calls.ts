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
