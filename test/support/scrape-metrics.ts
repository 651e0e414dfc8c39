import type { Metrics } from '../../controller/metrics/metrics.ts';

/** What the process exposes: each series, by name and labels as they are written, with its value. */
export async function scrapeMetrics(metrics: Metrics): Promise<ReadonlyMap<string, number>> {
  const { text } = await metrics.render();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}
