// Finding and making elements of the page.

export const $ = (id) => document.getElementById(id);

export function made(tag, text = "", className = "") {
  const element = document.createElement(tag);
  // As text, never as HTML: what is in an event is anybody's.
  element.textContent = text;
  if (className) element.className = className;
  return element;
}
