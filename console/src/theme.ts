/** Light, dark, or as the system is. */
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "tailrace.theme";

export const theme = signal<Theme>((localStorage.getItem(KEY) as Theme | null) ?? "system");

/** Choose a theme, kept in this browser. */
export function setTheme(chosen: Theme): void {
  theme.value = chosen;
  localStorage.setItem(KEY, chosen);
  apply();
}

/** Put the theme into force. */
export function apply(): void {
  const root = document.documentElement;
  if (theme.value === "system") delete root.dataset.theme;
  else root.dataset.theme = theme.value;
}
