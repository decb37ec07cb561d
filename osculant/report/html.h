#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace osculant {

// Text as HTML: names out of models and files are text, never markup.
std::string escape_html(std::string_view text);

// JSON text made safe inside a <script> element: "</script>" in a name would end it.
std::string escape_script_json(std::string_view json);

// A table with a caption and a header row. Cells are text; those of `numeric` columns stand to the right.
class HtmlTable {
 public:
  HtmlTable(std::string caption, std::vector<std::string> header, size_t text_columns = 1);
  void add(const std::vector<std::string>& row);
  bool empty() const { return rows_.empty(); }
  std::string str() const;

 private:
  std::string row_html(const std::vector<std::string>& row, const char* tag) const;

  std::string caption_;
  std::vector<std::string> header_;
  size_t text_columns_;
  std::vector<std::vector<std::string>> rows_;
};

// A square table of numbers whose cells are shaded by size: names of rows and columns in `names`. What a
// shade says the text says too.
struct HeatCell {
  std::string value, detail;  // the number, and its interval below it
  int level = 0;              // of shade, 0 (none) to 8
};
std::string heat_table(const std::string& caption, const std::vector<std::string>& names,
                       const std::vector<std::vector<HeatCell>>& rows);

// A part of the page, reached by #id from the list at its top.
struct Section {
  std::string id, title;
  std::string body;  // HTML
};

std::string paragraph(std::string_view text);  // <p>, the text escaped
std::string bullet_list(const std::vector<std::string>& lines);

}  // namespace osculant
