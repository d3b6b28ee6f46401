/** The server's metrics, as Prometheus reads them. */

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Return the samples of a text in Prometheus's format; what is none is passed over. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const found = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!found || line.startsWith("#")) continue;
    const labels: Record<string, string> = {};
    for (const [, name = "", value = ""] of (found[2] ?? "").matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g))
      labels[name] = value.replace(/\\n/g, "\n").replace(/\\(.)/g, "$1");
    samples.push({ name: found[1] ?? "", labels, value: Number(found[3]) });
  }
  return samples;
}

/** Return the sum of a metric, by a label where one is named. */
export function sumBy(samples: Sample[], name: string, label = ""): Map<string, number> {
  const sums = new Map<string, number>();
  for (const sample of samples)
    if (sample.name === name) {
      const key = label ? (sample.labels[label] ?? "") : "";
      sums.set(key, (sums.get(key) ?? 0) + sample.value);
    }
  return sums;
}
