import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import type { LabHosts } from './lab-hosts.ts';

/** Where it lies on the machine. */
const folder = '/srv/engines';
export const [older, newer] = ['5:28.0.1-1~debian.13~trixie', '5:28.0.2-1~debian.13~trixie'];

/** On a machine with Debian: makes its own packages into those that Docker has, docker-ce in two versions; prints a Release. */
const makePackages = `
set -eu
mkdir -p ${folder}
cd ${folder}
apt-get -q update >/dev/null
apt-get -q download docker.io docker-cli containerd runc >/dev/null 2>&1
pack() { # as package $2 in version $3, which needs $4, what the folder $1 has
  sed -i -n -e '/^\\(Architecture\\|Maintainer\\|Description\\):/p' "$1/DEBIAN/control"
  printf 'Package: %s\\nVersion: %s\\nDepends: %s\\n' "$2" "$3" "$4" >>"$1/DEBIAN/control"
  dpkg-deb -Znone --build "$1" "$2_$(echo "$3" | tr -d :).deb" >/dev/null
}
for name in docker.io docker-cli containerd; do dpkg-deb -R "$name"_*.deb "$name"; done
dpkg-deb -x runc_*.deb containerd
rm ./*.deb
for version in '${older}' '${newer}'; do
  pack docker.io docker-ce "$version" 'adduser, containerd.io, docker-ce-cli, iptables, debconf, libsystemd0'
  pack docker-cli docker-ce-cli "$version" libc6
done
pack containerd containerd.io 1.7.27-1 'libc6, libseccomp2'
for deb in *.deb; do
  dpkg-deb --field "$deb"
  printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d ' ' -f 1)"
done >Packages
rm -r docker.io docker-cli containerd
printf 'Date: %s\\nSHA256:\\n %s %s Packages\\n' "$(date -Ru)" "$(sha256sum Packages | cut -d ' ' -f 1)" "$(stat -c %s Packages)"`;

export interface EngineRepository {
  /** As apt reads it from a file of sources, with the key. */
  readonly stanza: string;
  /** The same, said to be signed by somebody else. */
  readonly stanzaOfOthers: string;
  /** Who asks at another place gets no answer from it. */
  at(uri: string): string;
}

/** A signed repository of packages such as Docker's own, on the machine of that name. */
export async function makeEngineRepository(
  machines: LabHosts,
  name: string,
  signal: AbortSignal,
): Promise<EngineRepository> {
  const release = await machines.output(name, makePackages);
  const home = await mkdtemp(join(machines.work, 'keys-'));
  const gpg = (...args: string[]) =>
    runCommand('gpg', ['--homedir', home, '--batch', '--quiet', ...args], {}, signal);
  try {
    const keys: string[] = [];
    for (const owner of ['ours', 'others']) {
      await gpg('--passphrase', '', '--quick-generate-key', owner, 'ed25519', 'sign');
      keys.push(await gpg('--armor', '--export', owner));
    }
    const [unsigned, signed] = [join(home, 'Release'), join(home, 'InRelease')];
    await writeFile(unsigned, `${release}\n`);
    await gpg('--local-user', 'ours', '--output', signed, '--clearsign', unsigned);
    await machines.output(name, `printf '%s' "$1" >${folder}/InRelease`, await readFile(signed, 'utf8'));
    const stanza = (uri: string, key: string) =>
      `Types: deb\nURIs: ${uri}\nSuites: ./\nSigned-By:\n${key.replace(/^$/gm, '.').replace(/^/gm, ' ')}\n`;
    const [ours = '', others = ''] = keys;
    return {
      stanza: stanza(`file:${folder}`, ours),
      stanzaOfOthers: stanza(`file:${folder}`, others),
      at: (uri) => stanza(uri, ours),
    };
  } finally {
    await runCommand('gpgconf', ['--homedir', home, '--kill', 'gpg-agent'], {}, signal);
    await rm(home, { recursive: true });
  }
}
