/** An IPv4 network as numbers: addresses first..last, network and broadcast included. */
export interface Block {
  readonly first: number;
  readonly last: number;
}

/** Below it: the gateway, and what the engine hands out by itself. */
const firstHost = 11;
/** A node whose address is taken (the manifest's order has changed) tries this much further up. */
const stride = 64;

const toNumber = (address: string): number =>
  address.split('.').reduce((sum, part) => sum * 256 + Number.parseInt(part, 10), 0);

const toAddress = (value: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');

/** One address as a block. */
export const readAddress = (address: string): Block => ({
  first: toNumber(address),
  last: toNumber(address),
});

/** Reads `10.98.0.0/24`; undefined when it is no network of /8 to /28. */
export const readSubnet = (subnet: string): Block | undefined => {
  const [base = '', bits = ''] = subnet.split('/');
  const size = 2 ** (32 - Number(bits));
  const parts = base.split('.').map(Number);
  const first = toNumber(base);
  const valid = parts.length === 4 && parts.every((part) => part <= 255) && size >= 2 ** 4 && size <= 2 ** 24;
  return valid && first % size === 0 ? { first, last: first + size - 1 } : undefined;
};

/** Reads a network that the schema has accepted. */
export const parseSubnet = (subnet: string): Block => {
  const block = readSubnet(subnet);
  if (!block) throw new RangeError(`${subnet} is not an IPv4 network of /8 to /28`);
  return block;
};

/** Whether `203.0.113.4/32` is a network: of any size, its host bits zero. */
export const isNetwork = (cidr: string): boolean => {
  const [base = '', bits = ''] = cidr.split('/');
  const isAddress = base.split('.').every((part) => Number(part) <= 255);
  return isAddress && Number(bits) <= 32 && toNumber(base) % 2 ** (32 - Number(bits)) === 0;
};

export const overlap = (a: Block, b: Block): boolean => a.first <= b.last && b.first <= a.last;

/** The fixed address of the node at `index`, clear of `taken`; undefined when the subnet is full. */
export const nodeAddress = (
  subnet: string,
  index: number,
  taken: ReadonlySet<string>,
): string | undefined => {
  const { first, last } = parseSubnet(subnet);
  for (let value = first + firstHost + index; value < last; value += stride) {
    const address = toAddress(value);
    if (!taken.has(address)) return address;
  }
  return undefined;
};

/** The network of an interface's `address/bits`; undefined for single addresses and for a default route. */
export const subnetOf = (cidr: string): Block | undefined => {
  const [address = '', bits = ''] = cidr.split('/');
  if (Number(bits) === 0 || Number(bits) > 30) return undefined;
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(toNumber(address) / size) * size;
  return { first, last: first + size - 1 };
};
