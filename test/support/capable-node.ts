import type { NodeHandle } from '../../provisioners/contract.ts';

/** A node that offers all that faults need, at an address of its own; everything else is asked of `node`. */
export function capableNode(node: NodeHandle, address = node.address): NodeHandle {
  return {
    name: node.name,
    address,
    exec: async (script, args, options, signal) =>
      script.includes('is-active --quiet docker')
        ? { code: 0, signal: null, stdout: 'systemd\niptables\ndocker\n', stderr: '' }
        : node.exec(script, args, options, signal),
    dial: (...args) => node.dial(...args),
    controllerAddress: (signal) => node.controllerAddress(signal),
    close: () => node.close(),
  };
}
