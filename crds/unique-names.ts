import type { Report } from './exactly-one.ts';

/** Reports every list entry whose `name` was given before, at the later one. */
export function reportDuplicateNames(list: unknown, at: string, report: Report): void {
  if (!Array.isArray(list)) return;
  const first = new Map<string, number>();
  list.forEach((entry: unknown, index) => {
    const name = (entry as { name?: unknown } | null | undefined)?.name;
    if (typeof name !== 'string') return;
    const before = first.get(name);
    if (before === undefined) first.set(name, index);
    else report([at, index, 'name'], `"${name}" is already the name of ${at}[${before}]`);
  });
}
