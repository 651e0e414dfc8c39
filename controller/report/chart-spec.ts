// What the page's script draws: it knows of lines, levels and shades, and nothing of faults and trials.

/** Panels below each other that share x and cursor. */
export interface ChartSpec {
  readonly xLabel: string;
  /** Rising. */
  readonly x: readonly number[];
  /** What is seen first; all of it when absent. */
  readonly view?: readonly [from: number, to: number];
  readonly panels: readonly Panel[];
  readonly shades: readonly { readonly from: number; readonly to: number; readonly tone: Tone }[];
  /** Named moments, marked above the first panel. */
  readonly ticks: readonly { readonly at: number; readonly label: string }[];
}

export interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
  readonly levels: readonly { readonly at: number; readonly label: string }[];
  /** Of the plotting area, CSS pixels. */
  readonly height: number;
  /** The end of the axis, where lines and levels should not say. */
  readonly top?: number;
}

export interface Line {
  readonly label: string;
  readonly tone: Tone;
  readonly look: 'line' | 'fine' | 'thin' | 'steps' | 'points';
  /** Told apart by more than colour. */
  readonly dash?: readonly number[];
  /** As many as there are of x; null: nothing is known. */
  readonly values: readonly (number | null)[];
}

/** The name of a colour, which the page's style sheet gives for light, dark and print. */
export type Tone = 'visible' | 'committed' | 'acked' | 'late' | 'strong' | 'fault' | 'recovery' | 'spare';
