import type { Machine, NodeHandle, Provisioner } from '../../provisioners/contract.ts';
import { nodeAt } from './own-engine.ts';

/** Name of the one machine in a manifest. */
export const ownMachineName = 'own';

/** Cluster of one machine that is there already: nothing is on it but an engine of our own, which listens at the socket. */
export function ownMachine(socket: string): Provisioner {
  const node: NodeHandle = {
    ...nodeAt(socket),
    name: ownMachineName,
    exec: async () => ({ code: 0, signal: null, stdout: '', stderr: '' }),
  };
  const machine: Machine = {
    name: ownMachineName,
    power: 'on',
    address: node.address,
    incarnation: socket,
    settingsHash: '',
  };
  const refuse = (what: string) => () => Promise.reject(new Error(`${ownMachineName} cannot be ${what}`));
  return {
    name: 'own',
    settingsHash: () => '',
    list: async () => [machine],
    connect: async () => node,
    create: refuse('made'),
    destroy: refuse('destroyed'),
    destroyShared: refuse('destroyed'),
  };
}
