// Every word that the page says, in English and in Vietnamese; the browser's preference decides.

const ENGLISH = {
  skip: "Skip to the results", home: "Start again", browse: "See everything", ask: "What to look for",
  region: "The query picture; Enter begins a part of it, arrow keys move it, Shift and arrow keys resize it, Escape ends it",
  regionHelp: "Drag over a part of it to search for that part.", select: "Choose a part", whole: "Whole picture",
  clear: "Remove", drop: "Drop a picture here, or paste one", dropAgain: "Drop or paste another", choose: "Choose a picture", urlLabel: "Address of a picture",
  fetch: "Fetch", textLabel: "In words", textHint: "a red door", search: "Search", like: "Like these",
  unlike: "Not like these", addWanted: "+ Another picture", addUnwanted: "− Not like…", options: "Options",
  count: "Results", least: "Score at least", json: "Download as JSON", csv: "Download as CSV", copyLink: "Copy link",
  copied: "Copied", more: "Show more", close: "Close", loginTitle: "This collection wants a token", token: "Token",
  login: "Open", letGo: "Let go to search with it", start: "Start with one of these, or with a picture of your own",
  searching: "Searching…", nothing: "Nothing found with that score.", empty: "The collection is empty.",
  found: (count, time) => `${count === 1 ? "1 result" : `${count} results`} in ${time} ms`,
  pictures: (count) => (count === 1 ? "1 picture" : `${count.toLocaleString("en")} pictures`),
  open: (name) => `Open ${name}`, searchWith: "Search with this", addThis: "More like this", addNot: "Less like this",
  why: "Why?", whyTitle: "Why they look alike", whole1: "Open the whole picture", previous: "Previous", next: "Next",
  score: (score) => `Score ${score}`, similarity: "score",
  bands: { same: "same", strong: "strong", alike: "alike", weak: "weak" }, confidence: (percent) => `${percent} % sure that it shows the same`,
  onlyAlike: "From here on: probably not the same, only alike", probablyNot: "Probably nothing like it here; these are only alike",
  remove: (name) => `Remove ${name}`, uploaded: "Your picture",
  part: "Part of a picture", notKept: "A picture that was not kept", regionIs: (w, h) => `Part of ${w} × ${h} pixels`,
  looking: "Looking for what matches…", explained: (n) => `${n} matching points agree. The outline is the part of the result that the query shows.`,
  perhaps: (n) => `Only ${n} matching points agree, which may be chance: the two are alike as a whole.`,
  explainedPatches: (n) => `${n} parts match each other.`,
  unexplained: "No points agree on one view: the two are alike as a whole, not in a part that can be pointed at.",
  noPicture: "The query picture was not kept, so nothing can be pointed at in it. Drop it again to see why.",
  onlyWords: "The query is words; there is no picture to compare with.",
  tooLarge: (size) => `That file is too large: at most ${size} MB.`, offline: "The service cannot be reached. Is it still running?",
  failed: "Something went wrong. Try again.",
  keep: "Add pictures", keepThis: "Add to the collection", adding: (done, all) => `Adding ${done} of ${all}…`,
  added: (count) => (count === 1 ? "1 picture is in the collection." : `${count} pictures are in the collection.`),
  takeOut: "Take out", takeOutReally: "Press again to take it out", taken: (name) => `${name} was taken out of the collection; its file stays where it is.`,
  markSame: "The same thing", markNot: "Not the same thing", unmark: "Forget this", goneImage: "no longer here",
  marked: (marks, groups, least) => `${marks === 1 ? "1 mark" : `${marks} marks`}; ${groups} of ${least} things that are needed to learn from`,
  enough: (marks, groups) => `${marks} marks, of ${groups} things`, adapted: (marks) => `Learned from your marks (${marks} by now)`,
  marksOpen: "Show marks", marksTitle: (count) => (count === 1 ? "1 mark" : `${count} marks`), learn: "Learn from these", unlearn: "Undo", learning: "Learning…",
  learned: (before, after) => `Learned: the right results come earlier (mAP ${before} → ${after}, measured on things that were held out).`,
  noGain: "No gain; nothing changed.", unlearned: "What was learned is undone.", notLearned: (why) => `Nothing was learned. ${why}`,
  withoutVector: (count) => `${count} pictures were added since; the next run of "lookalike index" takes them in again.`,
  order: "Order by",
  orders: {
    "": "Likeness alone", "average-qe": "Mean of the best results", "alpha-qe": "Weighted mean of the best", dba: "Neighbours of each result",
    "k-reciprocal": "Mutual neighbours", diffusion: "Diffusion among neighbours", superglobal: "Refined descriptors", spatial: "Matching points",
    patches: "Matching parts",
  },
  errors: {
    not_an_image: "That is not a picture that can be read here. JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF can.",
    bad_image: "That picture is damaged and cannot be read.", too_large: "That picture is too large.",
    slow_image: "That picture takes too long to read.", busy: "Too many people are searching right now. Try again in a moment.",
    loading: "The collection is still being loaded. Try again in a moment.", not_found: "That picture is no longer in the collection.",
    bad_url: "No picture could be fetched from that address.", no_text: "This collection cannot be searched with words.",
    no_picture: "This order compares pictures, and the query picture was not kept. Drop it again, or choose another order.",
    locked: "Another process is changing the collection. Try again in a moment.", read_only: "Nothing can be changed here.",
    unauthorized: "That is not the token.", overloaded: "Too many people are searching right now. Try again in a moment.",
    learning: "The collection is learning. Try again when it is done.", adapted: "It has learned already; undo that first.",
    not_adapted: "There is nothing to undo.", too_few_marks: "Too few things are marked to learn from.", same_file: "The two are the same file.",
  },
};

const VIETNAMESE = {
  skip: "Đến kết quả", home: "Bắt đầu lại", browse: "Xem tất cả", ask: "Cần tìm gì",
  region: "Ảnh cần tìm; Enter để chọn một phần, phím mũi tên để di chuyển, Shift và mũi tên để đổi cỡ, Escape để bỏ",
  regionHelp: "Kéo trên ảnh để tìm theo một phần của nó.", select: "Chọn một phần", whole: "Toàn bộ ảnh",
  clear: "Bỏ ảnh", drop: "Thả ảnh vào đây hoặc dán ảnh", dropAgain: "Thả hoặc dán ảnh khác", choose: "Chọn ảnh", urlLabel: "Địa chỉ của ảnh",
  fetch: "Lấy ảnh", textLabel: "Bằng lời", textHint: "cánh cửa màu đỏ", search: "Tìm", like: "Giống những ảnh này",
  unlike: "Không giống những ảnh này", addWanted: "+ Thêm ảnh", addUnwanted: "− Không giống…", options: "Tùy chọn",
  count: "Số kết quả", least: "Điểm tối thiểu", json: "Tải xuống JSON", csv: "Tải xuống CSV", copyLink: "Sao chép liên kết",
  copied: "Đã sao chép", more: "Xem thêm", close: "Đóng", loginTitle: "Bộ ảnh này cần mã truy cập", token: "Mã truy cập",
  login: "Mở", letGo: "Thả ra để tìm", start: "Bắt đầu với một trong các ảnh này, hoặc với ảnh của bạn",
  searching: "Đang tìm…", nothing: "Không có kết quả nào đạt điểm này.", empty: "Bộ ảnh trống.",
  found: (count, time) => `${count} kết quả trong ${time} ms`, pictures: (count) => `${count.toLocaleString("vi")} ảnh`,
  open: (name) => `Mở ${name}`, searchWith: "Tìm ảnh giống ảnh này", addThis: "Giống ảnh này hơn", addNot: "Ít giống ảnh này hơn",
  why: "Vì sao?", whyTitle: "Vì sao hai ảnh giống nhau", whole1: "Mở ảnh đầy đủ", previous: "Trước", next: "Sau",
  score: (score) => `Điểm ${score}`, similarity: "điểm",
  bands: { same: "trùng khớp", strong: "rất giống", alike: "giống", weak: "hơi giống" }, confidence: (percent) => `${percent} % chắc chắn là cùng một vật`,
  onlyAlike: "Từ đây trở đi: có lẽ không phải cùng một vật, chỉ giống", probablyNot: "Có lẽ ở đây không có vật này; những ảnh sau chỉ giống",
  remove: (name) => `Bỏ ${name}`, uploaded: "Ảnh của bạn",
  part: "Một phần của ảnh", notKept: "Ảnh không được lưu lại", regionIs: (w, h) => `Phần ${w} × ${h} điểm ảnh`,
  looking: "Đang tìm những điểm khớp nhau…", explained: (n) => `${n} điểm khớp nhau. Đường viền là phần của kết quả mà ảnh cần tìm thể hiện.`,
  perhaps: (n) => `Chỉ ${n} điểm khớp nhau, có thể là ngẫu nhiên: hai ảnh giống nhau về tổng thể.`,
  explainedPatches: (n) => `${n} phần khớp nhau.`,
  unexplained: "Không có điểm nào khớp theo cùng một góc nhìn: hai ảnh giống nhau về tổng thể.",
  noPicture: "Ảnh cần tìm không được lưu lại nên không thể so sánh. Hãy thả lại ảnh để xem vì sao.",
  onlyWords: "Bạn tìm bằng lời; không có ảnh nào để so sánh.",
  tooLarge: (size) => `Tệp quá lớn: tối đa ${size} MB.`, offline: "Không kết nối được với dịch vụ. Dịch vụ còn chạy không?",
  failed: "Đã xảy ra lỗi. Hãy thử lại.",
  keep: "Thêm vào bộ", keepThis: "Thêm vào bộ ảnh", adding: (done, all) => `Đang thêm ${done} trên ${all}…`,
  added: (count) => `${count} ảnh đã có trong bộ ảnh.`,
  takeOut: "Lấy ra", takeOutReally: "Nhấn lần nữa để lấy ra", taken: (name) => `${name} đã được lấy ra khỏi bộ ảnh; tệp vẫn còn nguyên.`,
  markSame: "Cùng một vật", markNot: "Không cùng một vật", unmark: "Bỏ đánh dấu", goneImage: "không còn ở đây",
  marked: (marks, groups, least) => `${marks} đánh dấu; ${groups} trên ${least} vật cần có để học`,
  enough: (marks, groups) => `${marks} đánh dấu, của ${groups} vật`, adapted: (marks) => `Đã học từ các đánh dấu của bạn (nay có ${marks})`,
  marksOpen: "Xem đánh dấu", marksTitle: (count) => `${count} đánh dấu`, learn: "Học từ các đánh dấu này", unlearn: "Hoàn tác", learning: "Đang học…",
  learned: (before, after) => `Đã học: kết quả đúng đứng sớm hơn (mAP ${before} → ${after}, đo trên những vật được giữ riêng).`,
  noGain: "Không có cải thiện; không có gì thay đổi.", unlearned: "Đã hoàn tác những gì đã học.", notLearned: (why) => `Chưa học được gì. ${why}`,
  withoutVector: (count) => `${count} ảnh được thêm sau đó; lần chạy "lookalike index" kế tiếp sẽ đưa chúng vào lại.`,
  order: "Sắp xếp theo",
  orders: {
    "": "Chỉ theo độ giống", "average-qe": "Trung bình các kết quả đầu", "alpha-qe": "Trung bình có trọng số", dba: "Lân cận của mỗi kết quả",
    "k-reciprocal": "Lân cận tương hỗ", diffusion: "Khuếch tán giữa các lân cận", superglobal: "Đặc trưng tinh chỉnh", spatial: "Các điểm khớp nhau",
    patches: "Các phần khớp nhau",
  },
  errors: {
    not_an_image: "Đây không phải là ảnh đọc được. Hãy dùng JPEG, PNG, WebP, GIF, TIFF, BMP hoặc AVIF.",
    bad_image: "Ảnh bị hỏng và không đọc được.", too_large: "Ảnh quá lớn.", slow_image: "Ảnh mất quá nhiều thời gian để đọc.",
    busy: "Đang có quá nhiều người tìm. Hãy thử lại sau giây lát.", loading: "Bộ ảnh đang được tải. Hãy thử lại sau giây lát.",
    not_found: "Ảnh này không còn trong bộ ảnh.", bad_url: "Không lấy được ảnh từ địa chỉ này.",
    no_picture: "Cách sắp xếp này so sánh ảnh, mà ảnh cần tìm không được lưu lại. Hãy thả lại ảnh hoặc chọn cách khác.",
    locked: "Một tiến trình khác đang thay đổi bộ ảnh. Hãy thử lại sau giây lát.", read_only: "Ở đây không thể thay đổi gì.",
    no_text: "Không thể tìm bộ ảnh này bằng lời.", unauthorized: "Mã truy cập không đúng.",
    overloaded: "Đang có quá nhiều người tìm. Hãy thử lại sau giây lát.",
    learning: "Bộ ảnh đang học. Hãy thử lại khi xong.", adapted: "Bộ ảnh đã học rồi; hãy hoàn tác trước.",
    not_adapted: "Không có gì để hoàn tác.", too_few_marks: "Quá ít vật được đánh dấu để học.", same_file: "Hai ảnh là cùng một tệp.",
  },
};

const first = (navigator.languages || [navigator.language]).map((one) => one.slice(0, 2)).find((one) => ["en", "vi"].includes(one));
const words = first === "vi" ? VIETNAMESE : ENGLISH;
export const language = first === "vi" ? "vi" : "en";

export function say(key, ...values) {
  const word = words[key];
  return typeof word === "function" ? word(...values) : word;
}

// A refusal of the service as a sentence; what has none of its own is said in the service's words.
export function sayError(error) {
  return words.errors[error.code] || error.message || words.failed;
}

// A method of re-ranking in plain words; one that this page does not know goes by its own name.
export const sayOrder = (name) => words.orders[name] ?? name;

export function translate(root = document) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
  for (const element of root.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = say(element.dataset.hint);
}
