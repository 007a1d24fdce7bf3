// SPDX-License-Identifier: MIT

import { App } from "./app";
import { decode } from "./decode";
import { byId } from "./dom";
import { startTheme } from "./theme";

startTheme();
if (typeof DecompressionStream === "undefined") {
  fail("This browser cannot unpack the profile. Chromium 80, Firefox 113, Safari 16.4 and later can.");
} else {
  decode(byId("data").textContent!.trim()).then(
    (data) => {
      new App(data);
      document.documentElement.dataset.ready = "true";
    },
    (error: unknown) => fail(`The profile in this page is damaged: ${String(error)}`),
  );
}

function fail(message: string): void {
  const element = byId("failure");
  element.textContent = message;
  element.hidden = false;
}
