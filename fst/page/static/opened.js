// Says so where the page is opened as a file, of which browsers load no module: this script is none.

if (location.protocol === "file:") {
  document.getElementById("status").textContent = "";
  document.getElementById("trouble").textContent =
    "A browser runs this page only from a file server: run python -m http.server --bind 127.0.0.1 in " +
    "its folder, and open 127.0.0.1:8000.";
}
