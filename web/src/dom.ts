// SPDX-License-Identifier: MIT
// Elements made of text. There is no way in here to make them of markup.

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** An element of a class that holds texts and elements. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...content: (string | Node)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

export function button(className: string, onClick: () => void, ...content: (string | Node)[]): HTMLButtonElement {
  const element = make("button", className, ...content);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

export function swatch(color: string): HTMLElement {
  const element = make("i", "swatch");
  element.style.background = color;
  return element;
}
