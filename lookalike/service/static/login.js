// A token for a cookie that no script can read; asked for when the service wants one.

import * as api from "./api.js";
import { byId } from "./dom.js";
import { decoded } from "./state.js";
import { sayError } from "./words.js";

const dialog = byId("login"), wrong = byId("login-error"), field = byId("token");

// Resolves once the right token was given. A link may carry it as #token=…, which is taken out of the address at once.
export async function login() {
  const given = /^#token=(.+)$/.exec(location.hash);
  if (given) {
    history.replaceState(null, "", location.pathname);
    if (await tried(decoded(given[1]))) return;
  }
  dialog.showModal();
  await new Promise((done) => {
    byId("login-form").onsubmit = async (event) => {
      event.preventDefault();
      if (await tried(field.value)) { dialog.close(); done(); }
      else field.select();
    };
    dialog.oncancel = (event) => event.preventDefault();
  });
}

async function tried(token) {
  try {
    await api.login(token);
    wrong.hidden = true;
    return true;
  } catch (error) {
    wrong.textContent = sayError(error);
    wrong.hidden = false;
    return false;
  }
}
