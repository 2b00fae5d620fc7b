/** The words of which the bookshop is made. */

/** Continents, their countries (name, code), and the countries' cities. */
export const WORLD: readonly (readonly [continent: string, countries: readonly Country[]])[] = [
  ["Africa", [
    ["Egypt", "EG", ["Cairo", "Alexandria", "Luxor"]],
    ["Ghana", "GH", ["Accra", "Kumasi", "Tamale"]],
    ["Kenya", "KE", ["Nairobi", "Mombasa", "Kisumu"]],
    ["Morocco", "MA", ["Rabat", "Fès", "Tangier"]],
    ["Senegal", "SN", ["Dakar", "Saint-Louis", "Thiès"]],
  ]],
  ["Asia", [
    ["India", "IN", ["Kolkata", "Chennai", "Jaipur", "Pune"]],
    ["Indonesia", "ID", ["Bandung", "Surabaya", "Medan"]],
    ["Japan", "JP", ["Kyoto", "Sapporo", "Nagasaki", "東京"]],
    ["Türkiye", "TR", ["İzmir", "Ankara", "Eskişehir"]],
    ["Viet Nam", "VN", ["Hà Nội", "Huế", "Đà Nẵng"]],
  ]],
  ["Europe", [
    ["Germany", "DE", ["Köln", "Leipzig", "Görlitz", "Lübeck"]],
    ["Iceland", "IS", ["Reykjavík", "Akureyri", "Ísafjörður"]],
    ["Ireland", "IE", ["Galway", "Cork", "Sligo"]],
    ["Poland", "PL", ["Łódź", "Kraków", "Gdańsk"]],
    ["Portugal", "PT", ["Porto", "Évora", "Coimbra"]],
    ["Spain", "ES", ["Cádiz", "A Coruña", "Zaragoza"]],
  ]],
  ["North America", [
    ["Canada", "CA", ["Montréal", "Halifax", "Victoria"]],
    ["Cuba", "CU", ["La Habana", "Camagüey", "Trinidad"]],
    ["Mexico", "MX", ["Oaxaca", "Mérida", "Puebla"]],
    ["United States", "US", ["Duluth", "Santa Fe", "Savannah", "Portland"]],
  ]],
  ["Oceania", [
    ["Australia", "AU", ["Hobart", "Fremantle", "Cairns"]],
    ["New Zealand", "NZ", ["Dunedin", "Nelson", "Whangārei"]],
  ]],
  ["South America", [
    ["Argentina", "AR", ["Rosario", "Salta", "Ushuaia"]],
    ["Brazil", "BR", ["São Luís", "Recife", "Curitiba"]],
    ["Chile", "CL", ["Valparaíso", "Valdivia", "Iquique"]],
    ["Peru", "PE", ["Cusco", "Arequipa", "Iquitos"]],
  ]],
  // Nobody writes there: a continent without countries.
  ["Antarctica", []],
];

export type Country = readonly [name: string, code: string, cities: readonly string[]];

export const FIRST_NAMES: readonly string[] = [
  ..."Abena Adriana Agnieszka Aiko Amara Anselm Aroha Aylin Beatriz Björn Brigid Caio Camila Carmen Chidi Clara"
    .split(" "),
  ..."Dilip Đức Eduardo Elif Emeka Esme Faisal Femke Gaspard Greta Gulnara Halima Hemi Hina Ignacio Ines Jadwiga"
    .split(" "),
  ..."João Kateri Kenji Kwame Lakshmi Leif Lourdes Magnus Mairéad Malika Mateo Mele Nadia Nhung Niamh Óscar Paloma"
    .split(" "),
  ..."Priya Rafael Rangi Rosalind Saoirse Sefa Sunniva Tadeusz Tomoko Ulrike Valentín Wangari Yara Zofia Zoë"
    .split(" "),
];

export const LAST_NAMES: readonly string[] = [
  ..."Abara Ahlgren Almeida Amador Asante Baranowska Barrios Benali Bergström Bielska Byrne Castellanos Cavendish"
    .split(" "),
  ..."Dąbrowski Delacroix Demir Diallo Duarte Eze Falk Ferreira Fujimoto Gallagher Gonçalves Grünwald Haddad Hanae"
    .split(" "),
  ..."Harkness Henare Ibáñez Inoue Jónsdóttir Kamau Kapoor Kerekes Kowalczyk Lachance Lindqvist Mac-Mahon Maranta"
    .split(" "),
  ..."Mensah Montoya Muller Mukherjee Nakagawa Ngata Nguyễn O'Dwyer Okafor Oyelaran Pacheco Pereira Quiroga Rao"
    .split(" "),
  ..."Ribeiro Rodd Salazar Sandoval Schreiber Sepúlveda Sørensen Szymańska Tavares Thorne Trần Ueda Vasconcelos"
    .split(" "),
  ..."Villanueva Wambui Weatherby Wójcik Yamaguchi Yıldız Zamora Zieliński".split(" "),
];

export const ADJECTIVES: readonly string[] = [
  ..."Amber Ancient Blue Borrowed Bright Broken Careful Cold Crooked Distant Drowned Early Empty Endless Fallen"
    .split(" "),
  ..."Forgotten Fragile Gentle Golden Green Hidden Hollow Honest Idle Iron Last Little Lonely Long Lost Lower Mild"
    .split(" "),
  ..."Narrow New Northern Old Open Other Paper Patient Plain Quiet Red Restless Salt Second Secret Sharp Silent Silver"
    .split(" "),
  ..."Slow Small Southern Steady Stolen Strange Sudden Tall Third Unfinished Unseen Upper Velvet Wandering Warm"
    .split(" "),
  ..."Western White Wild Winter Wooden Yellow Young".split(" "),
];

export const NOUNS: readonly string[] = [
  ..."Anchor Apple Atlas Autumn Bell Bird Boat Bridge Candle Cartographer Castle Clock Coast Compass Courtyard Crow"
    .split(" "),
  ..."Curtain Dancer Door Dream Drum Echo Ember Estuary Farewell Fern Ferry Field Fire Fisherman Forest Fox Garden Ghost"
    .split(" "),
  ..."Glass Grammar Gull Harbour Harvest Hill Horizon House Island Journey Key Kitchen Ladder Lake Lantern Letter"
    .split(" "),
  ..."Library Lighthouse Map Marsh Meadow Measure Memory Mill Mirror Moon Mountain Museum Night Notebook Oak Ocean"
    .split(" "),
  ..."Orchard Painter Path Pearl Pilgrim Promise Question Rain River Road Root Sail Season Shadow Shore Sky Sparrow"
    .split(" "),
  ..."Station Stone Storm Stranger Summer Tailor Theatre Thread Tide Tower Train Valley Violin Visitor Voice Well"
    .split(" "),
  ..."Window Wolf Wood Year".split(" "),
];

export const SUBJECTS: readonly string[] = [
  ..."Algebra Beekeeping Botany Carpentry Chess Clockmaking Cookery Fencing Gardening Geology Glass Grammar Ink"
    .split(" "),
  ..."Jazz Knots Logic Maps Navigation Optics Paper Pottery Printing Rivers Salt Sleep Tea Textiles Tides Typography"
    .split(" "),
  ..."Volcanoes Weather Whales Wine Wool".split(" "),
];

export const TAGS: readonly string[] = [
  ..."adventure art biography children classic cookery crime essays fantasy history humour mystery nature philosophy poetry"
    .split(" "),
  ..."romance school science sea short-stories thriller travel".split(" "),
];

export const OPINIONS: readonly string[] = [
  "I could not put it down.",
  "The second half is better than the first.",
  "My grandmother would have liked it.",
  'They say "a classic"; I say: too long.',
  "Read it on a train, missed my stop.",
  "The map on page 3 is wrong.\nThe story is not.",
  "Ein wunderbares Buch – größer als sein Ruf.",
  "Bought it for the cover, kept it for the ending.",
  "Tab\tseparated thoughts, and a back\\slash.",
  "五つ星です。",
  "Good paper, small print.",
  "Would lend it to a friend, and ask for it back. 📚",
  "<b>Not</b> for children & other animals.",
  "Three chapters on rope. Three!",
];

export const PUBLISHER_ENDINGS: readonly string[] = [
  "Press",
  "Books",
  "& Daughters",
  "Verlag",
  "House",
  "Editions",
  "Publishing Co.",
];
