/** The colours of what is drawn: a level has its own, others by their place. */
import { severityOf } from "../result/table";

const PALETTE = [
  ["#1f77b4", "#5aa9dd"],
  ["#0b8f86", "#3fbab2"],
  ["#b7791f", "#dfa548"],
  ["#7a3e9d", "#cf9df0"],
  ["#c2436b", "#f07ba0"],
  ["#4f7d2c", "#9ccf76"],
  ["#8a5a2b", "#d8a877"],
  ["#59656f", "#9aa8b2"],
] as const;

/** Return a colour of the page's tokens as it is in force now. */
export function inked(token: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${token})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

/** Whether the page is dark now. */
export function isDark(): boolean {
  return getComputedStyle(document.documentElement).colorScheme.includes("light")
    ? matchMedia("(prefers-color-scheme: dark)").matches && document.documentElement.dataset.theme !== "light"
    : true;
}

/** Return the colour of a series. */
export function colourOf(name: string, index: number): string {
  const severity = severityOf(name);
  if (severity !== "none") return inked(`--${severity}`);
  return PALETTE[index % PALETTE.length]?.[isDark() ? 1 : 0] ?? "#1f77b4";
}
