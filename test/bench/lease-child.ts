import { uptime } from 'node:os';
import Docker from 'dockerode';
import { systemClock } from '../../controller/clock.ts';
import { LeaseElector, type LeaseTimes } from '../../controller/lease/lease-elector.ts';
import { swarmGateway } from '../../controller/swarm/docker-gateways.ts';

// An operator as far as the election is concerned, to be killed: [SOCKET, IDENTITY, TIMES] as JSON. A line when it may act.

const [socket, identity, times] = JSON.parse(process.argv[2]!) as [string, string, LeaseTimes];
const swarm = swarmGateway(new Docker({ socketPath: socket }));
const elector = new LeaseElector({
  ...{ cluster: 'bench', identity, times, clock: systemClock, monotonicMs: () => uptime() * 1000 },
  managers: async () => [async () => swarm],
  acquired: (mandate) => void process.stdout.write(`${mandate}\n`),
  changed: () => {},
});
await elector.run(new AbortController().signal);
