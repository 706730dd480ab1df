resource "aws_opensearch_domain" "this" {
  count = 0
}

output "name" {
  value = var.name
}

output "url" {
  value = "https://search.invalid"
}
