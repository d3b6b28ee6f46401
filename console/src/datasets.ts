/** The datasets that the session may see, and their statistics. */
import { signal } from "@preact/signals";
import { ask } from "./api/http";

export interface Dataset {
  name: string;
  description: string;
  kind: string;
  created: string;
  who: string;
  useRetentionPeriod: boolean;
  retentionDays: number;
}

export interface Statistics {
  name: string;
  numEvents: number;
  numFields: number;
  numFiles: number;
  inputEvents: number;
  inputBytes: number;
  compressedBytes: number;
  maxTime?: string;
  minTime?: string;
}

export const datasets = signal<Dataset[]>([]);
/** by the name of the dataset */
export const statistics = signal<ReadonlyMap<string, Statistics>>(new Map());

/** Read the datasets. */
export async function loadDatasets(): Promise<void> {
  datasets.value = (await ask<Dataset[]>("/v2/datasets")).sort((a, b) => a.name.localeCompare(b.name));
}

/** Read their statistics. */
export async function loadStatistics(): Promise<void> {
  const answer = await ask<{ datasets: Statistics[] }>("/v1/datasets/_stats");
  statistics.value = new Map(answer.datasets.map((each) => [each.name, each]));
}
