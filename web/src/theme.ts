// SPDX-License-Identifier: MIT
// Light, dark, or as the system has it. The choice is kept where the browser allows a file to keep something.

const KEY = "mprofile-theme";
const THEMES = ["auto", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const system = matchMedia("(prefers-color-scheme: dark)");
const listeners: (() => void)[] = [];
let theme: Theme = "auto";

export function currentTheme(): Theme {
  return theme;
}

export function onThemeChange(listener: () => void): void {
  listeners.push(listener);
}

export function nextTheme(): void {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Then it holds for this visit.
  }
  apply();
}

export function startTheme(): void {
  try {
    theme = THEMES.find((one) => one === localStorage.getItem(KEY)) ?? "auto";
  } catch {
    theme = "auto";
  }
  system.addEventListener("change", apply);
  apply();
}

function apply(): void {
  const dark = theme === "dark" || (theme === "auto" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  for (const listener of listeners) listener();
}
