resource "aws_apigatewayv2_domain_name" "this" {
  count = 0
}

resource "aws_apigatewayv2_api_mapping" "this" {
  count       = 0
  domain_name = local.hosts.api
}

resource "aws_route53_record" "api" {
  count = 0

  alias {
    name                   = local.hosts.shop
    zone_id                = local.zone_id
    evaluate_target_health = false
  }
}
