import type { Report } from './report.ts';

/** The whole model as plain data: each trial stands once, and its fault names it by its number. */
export function renderJson(report: Report): object {
  return {
    ...report,
    campaigns: report.campaigns.map((campaign) => ({
      ...campaign,
      arms: campaign.arms.map((arm) => ({ ...arm, trials: arm.trials.map(({ number }) => number) })),
    })),
  };
}
