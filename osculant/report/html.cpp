#include "osculant/report/html.h"

#include "osculant/base/printable.h"

namespace osculant {

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : printable(text)) {  // the page's source may be looked at in a terminal
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += c;
  }
  return out;
}

std::string escape_script_json(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for (char c : json) {
    if (c == '<')
      out += "\\u003c";
    else if (c == '>')
      out += "\\u003e";
    else if (c == '&')
      out += "\\u0026";
    else
      out += c;
  }
  return out;
}

HtmlTable::HtmlTable(std::string caption, std::vector<std::string> header, size_t text_columns)
    : caption_{std::move(caption)}, header_{std::move(header)}, text_columns_{text_columns} {}

void HtmlTable::add(const std::vector<std::string>& row) {
  rows_.push_back(row);
}

std::string HtmlTable::row_html(const std::vector<std::string>& row, const char* tag) const {
  std::string out = "<tr>";
  for (size_t i = 0; i < row.size(); ++i) {
    std::string open = tag;
    if (std::string_view(tag) == "th") open += " scope=\"col\"";
    if (i >= text_columns_) open += " class=\"number\"";
    out += "<" + open + ">" + escape_html(row[i]) + "</" + tag + ">";
  }
  return out + "</tr>\n";
}

namespace {

std::string table_start(const std::string& caption, const char* attributes) {
  return "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"" + escape_html(caption) +
         "\"><table" + attributes + "><caption>" + escape_html(caption) + "</caption>\n<thead>";
}

}  // namespace

std::string HtmlTable::str() const {
  std::string out = table_start(caption_, "") + row_html(header_, "th") + "</thead>\n<tbody>\n";
  for (const auto& row : rows_) out += row_html(row, "td");
  return out + "</tbody></table></div>\n";
}

std::string heat_table(const std::string& caption, const std::vector<std::string>& names,
                       const std::vector<std::vector<HeatCell>>& rows) {
  std::string out = table_start(caption, " class=\"heat\"") + "<tr><td></td>";
  for (const auto& name : names) out += "<th scope=\"col\">" + escape_html(name) + "</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    out += "<tr><th scope=\"row\">" + escape_html(names[i]) + "</th>";
    for (const auto& cell : rows[i]) {
      out += "<td class=\"number heat-" + std::to_string(cell.level) + "\">" + escape_html(cell.value);
      if (!cell.detail.empty()) out += "<small>" + escape_html(cell.detail) + "</small>";
      out += "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string paragraph(std::string_view text) {
  return "<p>" + escape_html(text) + "</p>\n";
}

std::string bullet_list(const std::vector<std::string>& lines) {
  std::string out = "<ul>\n";
  for (const auto& line : lines) out += "<li>" + escape_html(line) + "</li>\n";
  return out + "</ul>\n";
}

}  // namespace osculant
