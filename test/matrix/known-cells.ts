import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FaultKind } from '../../state-machines/contract.ts';
import { packageRoot } from '../support/examples.ts';
import { type Cell, versionOf } from './cell.ts';
import type { Situation } from './situations.ts';

/** As it is kept: with what it was shown of, when, and where. */
export interface KnownCell extends Cell {
  readonly version: string;
  readonly date: string;
  readonly about: string;
}

/** Cells that were run in this checkout, whoever ran them. */
interface KnownCells {
  /** Undefined also when what was shown has changed since. */
  get(kind: FaultKind, situation: Situation): Promise<KnownCell | undefined>;
  keep(kind: FaultKind, situation: Situation, cell: Cell, about: string): Promise<KnownCell>;
}

const folder = join(packageRoot, '.cache');
const file = join(folder, 'matrix.json');
const keyOf = ({ kind, situation }: Pick<Cell, 'kind' | 'situation'>) => `${kind}/${situation}`;

export function openKnownCells(): KnownCells {
  const known = new Map(readCells().map((cell) => [keyOf(cell), cell]));
  return {
    async get(kind, situation) {
      const cell = known.get(keyOf({ kind: kind.name, situation: situation.name }));
      return cell?.version === (await versionOf(kind, situation)) ? cell : undefined;
    },
    async keep(kind, situation, cell, about) {
      const version = await versionOf(kind, situation);
      const kept = { ...cell, version, date: new Date().toISOString(), about };
      known.set(keyOf(cell), kept);
      mkdirSync(folder, { recursive: true });
      writeFileSync(file, JSON.stringify([...known.values()], undefined, 2));
      return kept;
    },
  };
}

function readCells(): readonly KnownCell[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as KnownCell[];
  } catch {
    return []; // none yet, or cut off while it was written
  }
}
