import { stringify } from 'yaml';

/**
 * What cloud-init makes of a new machine before its sshd starts: its name, and the host key by which it is known from the
 * first byte. Whoever may describe instances can read this, so that key is good for the first contact only.
 */
export function userData(
  hostname: string,
  hostKey: { readonly privateKey: string; readonly publicKey: string },
): string {
  const settings = {
    hostname,
    preserve_hostname: false,
    manage_etc_hosts: true,
    ssh_deletekeys: true,
    ssh_genkeytypes: ['ed25519'],
    ssh_keys: { ed25519_private: hostKey.privateKey, ed25519_public: hostKey.publicKey },
    disable_root: true,
    ssh_pwauth: false,
  };
  return `#cloud-config\n${stringify(settings)}`;
}
